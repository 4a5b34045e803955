// Which clips, captions and annotations a step sees, and how they are shared out among ranks.
#include "clipcap/training/batch_source.h"

#include <map>
#include <set>

#include "tests/clipcap/training/small_data.h"

namespace clipcap {
namespace {

using testing::numbered_clips;

struct Fixture {
  TemporaryFolder folder{"batch_source"};
  Config config = testing::small_training_config();
  std::unique_ptr<TrainingSet> set;
  explicit Fixture(int clips = 9, const std::vector<std::string>& settings = {}) {
    testing::write_small_data(folder, numbered_clips(clips));
    for (const std::string& setting : settings) set_config_key(config, setting);
    set = testing::small_training_set(config, folder);
  }
  [[nodiscard]] std::string caption_text(const Tensor& row) const {
    return set->vocabularies().caption.decode(row.to_vector<int32_t>());
  }
  [[nodiscard]] std::string aspect_text(const Tensor& row) const {
    return set->vocabularies().commonsense.decode(row.to_vector<int32_t>());
  }
};

std::vector<size_t> epoch_of(BatchSource& source, int64_t epoch, int64_t clips) {
  std::vector<size_t> order;
  for (int64_t i = 0; i < clips; ++i) order.push_back(source.draw(epoch * clips + i).clip);
  return order;
}

// The real part of a row of ids: up to eos, or nothing of a row of padding.
std::vector<int32_t> real_ids(const Tensor& rows, int64_t row, const Vocabulary& words) {
  std::vector<int32_t> ids;
  for (const int32_t id : rows.slice(0, row, 1).to_vector<int32_t>()) {
    if (id == words.pad()) break;
    ids.push_back(id);
    if (id == words.eos()) break;
  }
  return ids;
}

}  // namespace

TEST_CASE("an epoch is every clip once, each in an order of its own", "[batch_source]") {
  Fixture f;
  BatchSource source(*f.set, f.config);
  std::set<std::vector<size_t>> orders;
  std::vector<std::vector<int>> at(9, std::vector<int>(9, 0));  // [clip][place in the epoch]
  constexpr int kEpochs = 300;
  for (int epoch = 0; epoch < kEpochs; ++epoch) {
    const std::vector<size_t> order = epoch_of(source, epoch, 9);
    CHECK(std::set<size_t>(order.begin(), order.end()).size() == 9);
    orders.insert(order);
    for (size_t place = 0; place < 9; ++place) ++at[order[place]][place];
  }
  CHECK(orders.size() > kEpochs - 5);  // 9! orders: hardly one comes twice
  // Every clip is seen at every place: 300/9 = 33 times, deviation 5.4.
  for (const auto& places : at) {
    for (const int count : places) CHECK((count > 8 && count < 65));
  }
}

TEST_CASE("captions and annotations are drawn uniformly and independently", "[batch_source]") {
  Fixture f;
  BatchSource source(*f.set, f.config);
  const CaptionedClips& clips = f.set->training();
  // clip7 has 4 captions; caption 1 of it has (7+1+k)%4 annotations: 0, 1 and 2.
  std::map<size_t, int> captions;
  std::map<std::pair<int64_t, int64_t>, int> pairs;  // annotations of two aspects
  int seen = 0;
  constexpr int kEpochs = 4000;
  for (int64_t position = 0; position < kEpochs * 9; ++position) {
    const BatchSource::Draw draw = source.draw(position);
    const CaptionedClips::Clip& clip = clips.clips()[draw.clip];
    REQUIRE(draw.caption >= clip.first_caption);
    REQUIRE(draw.caption < clip.first_caption + clip.captions);
    for (int k = 0; k < kAspects; ++k) {
      const auto count = static_cast<int64_t>(clips.annotations(draw.caption, k));
      REQUIRE(draw.annotations[static_cast<size_t>(k)] < count);
      REQUIRE((draw.annotations[static_cast<size_t>(k)] >= 0) == (count > 0));
    }
    if (clip.video_id != "clip7") continue;
    ++captions[draw.caption - clip.first_caption];
    if (clips.annotations(draw.caption, 0) == 2) {  // 7+3 = 10: 2, 3 and 0 annotations
      ++pairs[{draw.annotations[0], draw.annotations[1]}];
      ++seen;
    }
  }
  REQUIRE(captions.size() == 4);
  for (const auto& [caption, count] : captions)  // 1000 each, deviation 27
    CHECK((count > 860 && count < 1140));
  REQUIRE(pairs.size() == 6);  // every combination: the aspects are drawn apart
  for (const auto& [pair, count] : pairs) {
    INFO(pair.first << " " << pair.second << ": " << count << " of " << seen);
    CHECK(std::abs(count - seen / 6) < seen / 24);
  }
}

TEST_CASE("a batch holds what was drawn: ids, padding, features, lengths", "[batch_source]") {
  Fixture f;
  BatchSource source(*f.set, f.config);
  const CaptionedClips& clips = f.set->training();
  std::set<std::string> texts;
  for (int64_t step = 0; step < 12; ++step) {
    const Batch batch = source.batch(step);
    const int64_t n = batch.features.dim(1);
    CHECK(batch.lengths.size() == 4);
    CHECK(n == *std::max_element(batch.lengths.begin(), batch.lengths.end()));
    for (int64_t b = 0; b < 4; ++b) {
      const BatchSource::Draw draw = source.draw(step * 4 + b);
      const CaptionedClips::Clip& clip = clips.clips()[draw.clip];
      const std::string name =
          clip.video_id.substr(4) + "x" + std::to_string(draw.caption - clip.first_caption);
      const std::string text = f.caption_text(batch.caption.slice(0, b, 1));
      texts.insert(text);
      CHECK(text == clips.text(draw.caption));
      CHECK(text.starts_with("caption c" + name));
      const std::vector<int32_t> ids = batch.caption.slice(0, b, 1).to_vector<int32_t>();
      const auto real = static_cast<size_t>(2 + std::count(text.begin(), text.end(), ' ') + 1);
      CHECK(ids[0] == f.set->vocabularies().caption.sos());
      CHECK(ids[real - 1] == f.set->vocabularies().caption.eos());
      for (size_t i = real; i < ids.size(); ++i) CHECK(ids[i] == f.set->vocabularies().caption.pad());
      for (size_t k = 0; k < kAspects; ++k) {
        const std::string said = f.aspect_text(batch.aspects[k].slice(0, b, 1));
        if (draw.annotations[k] < 0) {
          CHECK(said.empty());
          for (const int32_t id : batch.aspects[k].slice(0, b, 1).to_vector<int32_t>())
            CHECK(id == f.set->vocabularies().commonsense.pad());
        } else {
          CHECK(said.starts_with(std::string(kAspectNames[k]) + " a" + name + "x" +
                                 std::to_string(draw.annotations[k])));
        }
      }
      const int32_t length = batch.lengths[static_cast<size_t>(b)];
      const Tensor own = f.set->training_features(draw.clip);
      CHECK(length == own.dim(0));
      const Tensor row = batch.features.slice(0, b, 1);
      CHECK(row.slice(1, 0, length).to_vector<float>() == own.to_vector<float>());
      for (const float value : row.slice(1, length, n - length).to_vector<float>()) CHECK(value == 0.0F);
      CHECK(batch.teacher.slice(0, b, 1).to_vector<float>() ==
            f.set->teacher().rows(draw.caption).to_vector<float>());
    }
  }
  CHECK(texts.size() > 12);
}

TEST_CASE("ranks share a batch out; the denominators are the whole's", "[batch_source]") {
  for (const int64_t ranks : {1, 2, 3, 7}) {
    INFO(ranks << " ranks");
    Fixture f(9, {"train.batch=7"});
    BatchSource whole_source(*f.set, f.config);
    for (int64_t step = 0; step < 6; ++step) {
      const Batch whole = whole_source.batch(step);
      Denominators counted;
      for (int64_t b = 0; b < 7; ++b) {
        counted.caption +=
            static_cast<double>(real_ids(whole.caption, b, f.set->vocabularies().caption).size()) - 1;
        for (size_t k = 0; k < kAspects; ++k) {
          const auto ids = real_ids(whole.aspects[k], b, f.set->vocabularies().commonsense);
          if (!ids.empty()) counted.aspects[k] += static_cast<double>(ids.size()) - 1;
        }
        counted.distill += whole.lengths[static_cast<size_t>(b)];
      }
      int64_t row = 0;
      for (int64_t rank = 0; rank < ranks; ++rank) {
        BatchSource source(*f.set, f.config);  // each rank has its own
        const Batch share = source.batch(step, rank, ranks);
        CHECK(share.denominators.caption == counted.caption);
        CHECK(share.denominators.aspects == counted.aspects);
        CHECK(share.denominators.distill == counted.distill);
        for (int64_t b = 0; b < share.caption.dim(0); ++b, ++row) {
          const int32_t length = share.lengths[static_cast<size_t>(b)];
          REQUIRE(length == whole.lengths[static_cast<size_t>(row)]);
          CHECK(real_ids(share.caption, b, f.set->vocabularies().caption) ==
                real_ids(whole.caption, row, f.set->vocabularies().caption));
          for (size_t k = 0; k < kAspects; ++k) {
            CHECK(real_ids(share.aspects[k], b, f.set->vocabularies().commonsense) ==
                  real_ids(whole.aspects[k], row, f.set->vocabularies().commonsense));
          }
          CHECK(share.features.slice(0, b, 1).slice(1, 0, length).to_vector<float>() ==
                whole.features.slice(0, row, 1).slice(1, 0, length).to_vector<float>());
          CHECK(share.teacher.slice(0, b, 1).to_vector<float>() ==
                whole.teacher.slice(0, row, 1).to_vector<float>());
        }
      }
      CHECK(row == 7);
    }
    CHECK_THROWS_AS(whole_source.batch(0, 0, 8), Error);
    CHECK_THROWS_AS(whole_source.batch(0, 2, 2), Error);
  }
}

TEST_CASE("a batch depends on seed and step alone", "[batch_source]") {
  Fixture f(9, {"train.seed=3"});
  BatchSource uninterrupted(*f.set, f.config);
  const auto words = [](const Batch& batch) { return batch.caption.to_vector<int32_t>(); };
  std::vector<std::vector<int32_t>> before;
  for (int64_t step = 0; step < 12; ++step) before.push_back(words(uninterrupted.batch(step)));
  for (const int64_t step : {11, 0, 5, 7}) {  // resumed anywhere, in any order
    BatchSource resumed(*f.set, f.config);
    CHECK(words(resumed.batch(step)) == before[static_cast<size_t>(step)]);
    CHECK(words(uninterrupted.batch(step)) == before[static_cast<size_t>(step)]);
  }
  Config other = f.config;
  other.train.seed = 4;
  CHECK_THROWS_AS(BatchSource(*f.set, other), Error);  // the random encoder's features belong to the seed
  const auto set = testing::small_training_set(other, f.folder);
  BatchSource reseeded(*set, other);
  BatchSource source(*f.set, f.config);
  CHECK(epoch_of(source, 0, 9) != epoch_of(reseeded, 0, 9));
  int different = 0;  // choices differ too, not only the order
  for (int64_t position = 0; position < 900; ++position) {
    const BatchSource::Draw a = source.draw(position);
    const BatchSource::Draw b = reseeded.draw(position);
    if (a.clip == b.clip && a.caption != b.caption) ++different;
  }
  CHECK(different > 10);
}

TEST_CASE("sub-decoders that are off get no rows and no denominator", "[batch_source]") {
  Fixture f(9, {R"(model.subdecoders=["effect"])", "loss.distill=0"});
  BatchSource source(*f.set, f.config);
  const Batch batch = source.batch(1);
  CHECK(!batch.aspects[0].defined());
  CHECK(batch.aspects[1].defined());
  CHECK(!batch.aspects[2].defined());
  CHECK(batch.denominators.aspects[0] == 0);
  CHECK(batch.denominators.aspects[1] > 0);
  CHECK(!batch.teacher.defined());
}

TEST_CASE("an encoder that is trained gets frames, and ranks agree on how many there are", "[batch_source]") {
  const TemporaryFolder folder("batch_source_frames");
  testing::write_small_data(folder, numbered_clips(5), false);
  for (int i = 0; i < 5; ++i) folder.write("videos/clip" + std::to_string(i) + ".mp4", "never decoded here");
  Config config = testing::small_training_config();
  set_config_key(config, "train.train_encoder=true");
  set_config_key(config, "loss.distill=0");
  const auto set = testing::small_training_set(config, folder);
  const auto frames = [](const std::filesystem::path& file) {
    const int64_t number = file.stem().string().back() - '0';
    return Tensor::full({1 + number, 3, 4, 4}, static_cast<double>(number));
  };
  BatchSource source(*set, config, frames);
  const Batch whole = source.batch(2);
  double total = 0;
  for (const int32_t length : whole.lengths) total += length;
  CHECK(!whole.features.defined());
  CHECK(static_cast<double>(whole.frames.dim(0)) == total);
  CHECK(whole.denominators.distill == total);
  int64_t at = 0;
  for (size_t b = 0; b < 4; ++b) {
    const auto number = static_cast<float>(source.draw(2 * 4 + static_cast<int64_t>(b)).clip);
    CHECK(whole.lengths[b] == 1 + static_cast<int32_t>(number));
    CHECK(whole.frames.slice(0, at, 1).to_vector<float>()[0] == number);
    at += whole.lengths[b];
  }
  for (int64_t rank = 0; rank < 2; ++rank) {
    BatchSource own(*set, config, frames);
    CHECK(own.batch(2, rank, 2).denominators.distill == total);
  }
}

}  // namespace clipcap
