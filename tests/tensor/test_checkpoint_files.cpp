// Checkpoints in several files, folders of them, and files that are something else.
#include "tensor/io/checkpoint_files.h"

#include "tensor/io/foreign_file.h"
#include "tensor/io/safetensors.h"
#include "tensor/problem_list.h"
#include "tests/error_message.h"
#include "tests/source_dir.h"
#include "tests/temporary_folder.h"

namespace clipcap {
namespace {

using Tensors = std::map<std::string, Tensor>;

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

std::vector<std::string> names_in(const std::filesystem::path& path) {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : read_tensor_file(path).tensors) names.push_back(name);
  return names;
}
std::string refusal(const std::filesystem::path& path) {
  const std::string message = message_of<InputError>([&] { static_cast<void>(read_tensor_file(path)); });
  CHECK(message.size() < path.string().size() + 330);
  return message;
}

const std::vector<std::string> kAll{"a", "b", "c"};

// Three tensors in three files.
class Parts {
 public:
  explicit Parts(const std::string& stem = "model-", const std::string& first = "1") : folder_("parts") {
    const int from = std::stoi(first);
    for (int i = 0; i < 3; ++i) {
      files_.push_back(folder_.path() / (stem + "0000" + std::to_string(from + i) + "-of-00003.safetensors"));
      write_safetensors(files_.back(), {{kAll[static_cast<size_t>(i)], Tensor::full({2}, i)}});
    }
  }
  void index(const std::string& text) const { folder_.write("model.safetensors.index.json", text); }
  void usual_index() const {
    std::string map;
    for (size_t i = 0; i < 3; ++i)
      map += (i > 0 ? ", \"" : "\"") + kAll[i] + "\": \"" + files_[i].filename().string() + '"';
    index("{\"metadata\": {}, \"weight_map\": {" + map + "}}");
  }
  std::filesystem::path index_path() const { return folder_.path() / "model.safetensors.index.json"; }
  const TemporaryFolder& folder() const { return folder_; }
  const std::filesystem::path& file(size_t i) const { return files_[i]; }

 private:
  TemporaryFolder folder_;
  std::vector<std::filesystem::path> files_;
};

}  // namespace

TEST_CASE("checkpoint files: shards are read together, by their index or by their names",
          "[checkpoint_files]") {
  const Parts parts;
  // By the names alone.
  for (const auto& path : {parts.file(0), parts.file(2), parts.folder().path()})
    CHECK(names_in(path) == kAll);
  parts.usual_index();
  for (const auto& path : {parts.file(1), parts.index_path(), parts.folder().path()})
    CHECK(names_in(path) == kAll);
  const TensorFile all = read_tensor_file(parts.index_path());
  CHECK(all.format == "safetensors in 3 files");
  CHECK(all.more.size() == 2);
  CHECK(all.tensors.at("c").to_vector<float>() == std::vector<float>{2, 2});
  CHECK(has(all.said, "3 parts"));
  CHECK(names_in(Parts("pytorch_model_").file(1)) == kAll);
  CHECK(names_in(Parts("m-", "0").file(0)) == kAll);  // some count from 0
  // Files of one part and of none.
  const TemporaryFolder folder("part");
  write_safetensors(folder.path() / "model-00001-of-00001.safetensors", {{"x", Tensor::zeros({1})}});
  CHECK(names_in(folder.path() / "model-00001-of-00001.safetensors") == std::vector<std::string>{"x"});
  for (const char* name :
       {"model-of-3.safetensors", "x-1-of-22.safetensors", "x-00009-of-00003.safetensors"}) {
    write_safetensors(folder.path() / name, {{"y", Tensor::zeros({1})}});
    CHECK(names_in(folder.path() / name) == std::vector<std::string>{"y"});
  }
}

TEST_CASE("checkpoint files: parts that are not there, and indices that are none", "[checkpoint_files]") {
  const Parts parts;
  std::filesystem::remove(parts.file(1));
  CHECK(has(refusal(parts.file(0)),
            "part 1 of 3 files of one checkpoint; the others are needed too: model-00002-of-00003"));
  parts.usual_index();
  for (const auto& path : {parts.file(0), parts.index_path(), parts.folder().path()})
    CHECK(has(refusal(path), "1 is not there: model-00002-of-00003.safetensors"));
  for (const char* text :
       {"{", "[]", "{}", "{\"weight_map\": []}", "{\"weight_map\": {}}", "{\"weight_map\": {\"a\": 3}}",
        "{\"weight_map\": {\"a\": \"../model-00001-of-00003.safetensors\"}}",
        "{\"weight_map\": {\"a\": \"/etc/passwd\"}}", "{\"weight_map\": {\"a\": \"..\"}}"}) {
    INFO(text);
    parts.index(text);
    CHECK(has(refusal(parts.index_path()), "index.json: "));
  }
  parts.index("{\"weight_map\": {\"a\": \"model-00001-of-00003.safetensors\"}}");
  CHECK(names_in(parts.index_path()) == std::vector<std::string>{"a"});
  CHECK(has(refusal(parts.file(2)), "does not name it"));
  // The same tensor in two parts.
  write_safetensors(parts.file(2), {{"a", Tensor::zeros({1})}});
  parts.index(
      "{\"weight_map\": {\"a\": \"model-00001-of-00003.safetensors\", \"c\": "
      "\"model-00003-of-00003.safetensors\"}}");
  CHECK(has(refusal(parts.index_path()), "is in another part too"));
}

TEST_CASE("checkpoint files: folders", "[checkpoint_files]") {
  const TemporaryFolder folder("folder");
  CHECK(has(refusal(folder.path()), "the folder is empty"));
  folder.write("notes.txt", "hello");
  CHECK(has(refusal(folder.path()), "a folder without weights"));
  CHECK(has(refusal(folder.path()), "in it: notes.txt"));
  folder.write("tf_model.h5", "");
  CHECK(has(refusal(folder.path()), "tf_model.h5 is another framework's"));
  write_safetensors(folder.path() / "some.safetensors", {{"some", Tensor::zeros({1})}});
  write_safetensors(folder.path() / "optimizer.bin", {{"no", Tensor::zeros({1})}});
  write_safetensors(folder.path() / ".hidden.safetensors", {{"no", Tensor::zeros({1})}});
  CHECK(names_in(folder.path()) == std::vector<std::string>{"some"});
  CHECK(read_tensor_file(folder.path()).said == "some.safetensors");
  write_safetensors(folder.path() / "other.safetensors", {{"other", Tensor::zeros({1})}});
  CHECK(has(refusal(folder.path()),
            "2 files of weights; name the one that is meant: other.safetensors, some.safetensors"));
  // The name that libraries look for goes first, and safetensors before pickles.
  write_safetensors(folder.path() / "pytorch_model.bin", {{"bin", Tensor::zeros({1})}});
  CHECK(names_in(folder.path()) == std::vector<std::string>{"bin"});
  write_safetensors(folder.path() / "model.safetensors", {{"model", Tensor::zeros({1})}});
  CHECK(names_in(folder.path()) == std::vector<std::string>{"model"});
  CHECK(main_checkpoint_file(folder.path()) == folder.path() / "model.safetensors");
  CHECK(main_checkpoint_file(folder.path() / "absent.pt") == folder.path() / "absent.pt");
  folder.write("pipeline/model_index.json", "{}");
  CHECK(has(refusal(folder.path() / "pipeline"), "diffusers pipeline"));
}

TEST_CASE("checkpoint files: what a file is instead", "[checkpoint_files]") {
  using std::string;
  const std::pair<string, const char*> cases[] = {
      {"version https://git-lfs.github.com/spec/v1\noid sha256:0d71\nsize 605247071\n",
       "Git LFS pointer, not the file of 605247071 bytes"},
      {"version https://hawser.github.com/spec/v1\n", "Git LFS"},
      {"/annex/objects/MD5E-s1--a", "git-annex"},
      {"<!DOCTYPE html><html>403</html>", "web page (HTML)"},
      {"\n\t<!doctype HTML>", "web page (HTML)"},
      {"\xef\xbb\xbf<html lang=\"en\">", "web page (HTML)"},
      {"<HEAD></HEAD>", "web page (HTML)"},
      {"<!-- saved --> <html>", "web page (HTML)"},
      {"<?xml version=\"1.0\"?><Error><Code>NoSuchKey</Code></Error>", "XML"},
      {"<?xml version=\"1.0\"?>\n<!DOCTYPE html>\n<html xmlns=\"x\">", "web page (HTML)"},
      {"{\"error\": \"not found\"}", "a JSON text"},
      {"Entry not found", "a text file"},
      {"", "an empty file"},
      {string("\x1f\x8b\x08\x00", 4), "gzip"},
      {"GGUF....", "GGUF"},
      {string("\x89PNG\r\n\x1a\n....", 12), "PNG"},
      {string("\xff\xd8\xff\xe0", 4), "JPEG"},
      {string("\x00\x00\x00\x18", 4) + "ftypheic", "HEIC"},
      {string("\x00\x00\x00\x18", 4) + "ftypisom", "video (MP4)"},
      {string("\x80\x04\x95\x00", 4), "pickle"},
      {string(257, '\0') + "ustar", "tar"}};
  const TemporaryFolder folder("foreign");
  for (const auto& [bytes, what] : cases) {
    INFO(what);
    CHECK(has(foreign_content(std::as_bytes(std::span(bytes))), what));
    for (const char* name : {"x.safetensors", "x.bin"}) CHECK(has(refusal(folder.write(name, bytes)), what));
  }
  const string unknown("\x01\x02\x03\x04\x05", 5);
  CHECK(foreign_content(std::as_bytes(std::span(unknown))).empty());
  CHECK(has(refusal(folder.write("x.pt", unknown)), "not a file of tensors"));
}

TEST_CASE("checkpoint files: kinds of tensor that are not read are left out by name", "[checkpoint_files]") {
  const auto golden = [](const char* name) { return testing::golden_path("torch_files") / name; };
  const TensorFile zip = read_tensor_file(golden("unread.pt"));
  CHECK(zip.tensors.size() == 2);
  CHECK(zip.tensors.at("weight").to_vector<float>() == std::vector<float>{0, 1, 2, 3, 4, 5});
  CHECK(zip.tensors.at("bias").to_vector<float>() == std::vector<float>{1, 1});
  const std::map<std::string, std::string> expected{{"complex", "complex64"},
                                                    {"half_complex", "complex32"},
                                                    {"unsigned", "uint16"},
                                                    {"float8", "float8_e4m3fn"},
                                                    {"quantized", "quantized"},
                                                    {"inner.sparse", "sparse"},
                                                    {"inner.meta", "without data (meta)"}};
  CHECK(zip.skipped == expected);
  // Where storages follow each other, those that are not read have a length all the same.
  const TensorFile legacy = read_tensor_file(golden("unread_legacy.pt"));
  CHECK(legacy.tensors.at("weight").to_vector<float>() == std::vector<float>{0, 1, 2, 3, 4, 5});
  CHECK(legacy.tensors.at("bias").to_vector<float>() == std::vector<float>{1, 1});
  CHECK(legacy.skipped.size() == 2);
  // safetensors: a dtype that is known but not read, one of tomorrow, and one whose size is a lie.
  const TemporaryFolder folder("unread");
  const auto write = [&](const std::string& dtype, const std::string& shape, int bytes) {
    std::string header = R"({"a":{"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":[0,)" +
                         std::to_string(bytes) + R"(]},"b":{"dtype":"F32","shape":[1],"data_offsets":[)" +
                         std::to_string(bytes) + "," + std::to_string(bytes + 4) + "]}}";
    const auto length = static_cast<char>(header.size());
    return folder.write("x.safetensors", std::string{length, 0, 0, 0, 0, 0, 0, 0} + header +
                                             std::string(static_cast<size_t>(bytes), '\1') +
                                             std::string("\0\0\x80?", 4));
  };
  for (const auto& [dtype, bytes] :
       {std::pair{"C64", 16}, {"U16", 4}, {"F8_E4M3", 2}, {"F4", 1}, {"BF7_NEW", 13}}) {
    INFO(dtype);
    const TensorFile file = read_tensor_file(write(dtype, "[2]", bytes));
    CHECK(file.skipped == std::map<std::string, std::string>{{"a", dtype}});
    CHECK(file.tensors.at("b").to_vector<float>() == std::vector<float>{1});
  }
  CHECK(has(refusal(write("U16", "[3]", 4)), "needs 6"));
  CHECK(has(refusal(write("U64", "[4611686018427387904, 8]", 4)), "too many elements"));
}

TEST_CASE("checkpoint files: lists in messages are short", "[checkpoint_files]") {
  ProblemList list;
  CHECK(list.empty());
  for (int i = 0; i < 25; ++i) list.add("bad ", i);
  CHECK(list.count() == 25);
  CHECK(list.text().ends_with("bad 9; and 15 more"));
  ProblemList few;
  few.add("one");
  few.add("two");
  CHECK(few.text() == "one; two");
  ProblemList wide;
  for (int i = 0; i < 8; ++i) wide.add(std::string(150, 'x'));
  CHECK(wide.text().size() < 330);
  CHECK(wide.text().ends_with("and 6 more"));
  CHECK(list_names(std::vector<std::string>{"a", "b"}) == "a, b");
  CHECK(list_names(std::vector<std::string>(30, "n")).ends_with("n and 20 more"));
}

}  // namespace clipcap
