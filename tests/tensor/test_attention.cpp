#include "tensor/kernels/attention.h"

#include "tests/compare.h"
#include "tests/tensor/on_every_isa.h"

namespace clipcap {
namespace {

using testing::check_against_oracle;
using testing::converted;
using testing::on_every_isa;
using testing::random_values;

struct Case {
  int64_t batch, heads, q_len, k_len, head_dim;
  bool causal = false;
  int64_t causal_offset = 0;
  bool masked = false;
};

// Everything one case needs, in a fused layout: k and v are views into one [B,Tk,2,H,K].
template <class T>
struct Data {
  Case c;
  std::vector<T> q, kv, d_o, o, lse, dq, dkv;
  std::vector<uint8_t> valid;

  explicit Data(const Case& wanted, uint64_t seed = 1) : c(wanted) {
    const int64_t queries = c.batch * c.q_len * c.heads * c.head_dim;
    const int64_t keys = c.batch * c.k_len * c.heads * c.head_dim;
    q = random_values<T>(queries, seed);
    kv = random_values<T>(2 * keys, seed + 1);
    d_o = random_values<T>(queries, seed + 2);
    o.assign(queries, T{7});
    lse.assign(c.batch * c.heads * c.q_len, T{7});
    dq.assign(queries, T{7});
    dkv.assign(2 * keys, T{7});
    valid.assign(c.batch * c.k_len, 1);
    for (size_t j = 0; c.masked && j < valid.size(); ++j) valid[j] = (j * 7 + j / 5) % 3 != 0 ? 1 : 0;
    if (c.masked && c.batch > 1) std::fill_n(valid.begin(), c.k_len, uint8_t{0});  // no key at all
  }
  AttentionStrides rows(int64_t len) const {
    return {len * c.heads * c.head_dim, c.heads * c.head_dim, c.head_dim};
  }
  AttentionStrides fused() const {
    return {2 * c.k_len * c.heads * c.head_dim, 2 * c.heads * c.head_dim, c.head_dim};
  }
  int64_t v_offset() const { return c.heads * c.head_dim; }
  T scale() const { return static_cast<T>(0.7F / std::sqrt(static_cast<float>(c.head_dim + 1))); }
  void describe(AttentionInputs<T>& p) {
    p.q = q.data();
    p.k = kv.data();
    p.v = kv.data() + v_offset();
    p.key_valid = c.masked ? valid.data() : nullptr;
    p.batch = c.batch;
    p.heads = c.heads;
    p.q_len = c.q_len;
    p.k_len = c.k_len;
    p.head_dim = c.head_dim;
    p.q_strides = p.o_strides = rows(c.q_len);
    p.k_strides = p.v_strides = fused();
    p.causal = c.causal;
    p.causal_offset = c.causal_offset;
    p.scale = scale();
  }
  AttentionFwd<T> fwd() {
    AttentionFwd<T> p;
    describe(p);
    p.o = o.data();
    p.lse = lse.data();
    return p;
  }
  AttentionBwd<T> bwd() {
    AttentionBwd<T> p;
    describe(p);
    p.o = o.data();
    p.lse = lse.data();
    p.d_o = d_o.data();
    p.dq = dq.data();
    p.dk = dkv.data();
    p.dv = dkv.data() + v_offset();
    p.dq_strides = rows(c.q_len);
    p.dk_strides = p.dv_strides = fused();
    return p;
  }
};

// -inf cannot be subtracted; it must be there in all three, though.
template <class T>
std::vector<T> finite(std::vector<T> values) {
  for (T& value : values) {
    if (value == -std::numeric_limits<T>::infinity()) value = T{-1000};
  }
  return values;
}

void check_parity(const Case& c) {
  INFO("B " << c.batch << " H " << c.heads << " Tq " << c.q_len << " Tk " << c.k_len << " K " << c.head_dim
            << " causal " << c.causal << " offset " << c.causal_offset << " masked " << c.masked);
  Data<double> oracle(c);
  Data<float> plain(c);
  reference::attention_fwd(oracle.fwd());
  reference::attention_fwd(plain.fwd());
  reference::attention_bwd(oracle.bwd());
  reference::attention_bwd(plain.bwd());
  on_every_isa([&] {
    Data<float> fast(c);
    attention_fwd(Device{}, fast.fwd());
    attention_bwd(Device{}, fast.bwd());
    check_against_oracle(fast.o, plain.o, oracle.o);
    check_against_oracle(finite(fast.lse), finite(plain.lse), finite(oracle.lse));
    if (c.k_len == 1) {
      // One weight, always 1: dq = dk = 0 exactly; in floats two sums of K terms cancel.
      for (const float x : fast.dq) REQUIRE((std::abs(x) < 1e-5F));
      return;
    }
    check_against_oracle(fast.dq, plain.dq, oracle.dq);
    check_against_oracle(fast.dkv, plain.dkv, oracle.dkv);
  });
}

}  // namespace

TEST_CASE("attention: two keys by hand", "[attention]") {
  // q = 1, k = (0, ln 3), scale 1: weights 1/4 and 3/4; v = (8, 4) gives 5; lse = ln 4.
  const float ln3 = std::log(3.0F);
  const std::vector<float> q{1};
  const std::vector<float> k{0, ln3};
  const std::vector<float> v{8, 4};
  const std::vector<float> d_o{2};
  std::vector<float> o(1);
  std::vector<float> lse(1);
  std::vector<float> dq(1);
  std::vector<float> dk(2);
  std::vector<float> dv(2);
  AttentionFwd<float> p;
  p.q = q.data();
  p.k = k.data();
  p.v = v.data();
  p.o = o.data();
  p.lse = lse.data();
  p.batch = p.heads = p.q_len = p.head_dim = 1;
  p.k_len = 2;
  p.q_strides = p.o_strides = {1, 1, 1};
  p.k_strides = p.v_strides = {2, 1, 1};
  p.scale = 1.0F;
  attention_fwd(Device{}, p);
  CHECK(o[0] == Approx(5.0F));
  CHECK(lse[0] == Approx(std::log(4.0F)));
  AttentionBwd<float> g;
  static_cast<AttentionInputs<float>&>(g) = p;
  g.o = o.data();
  g.lse = lse.data();
  g.d_o = d_o.data();
  g.dq = dq.data();
  g.dk = dk.data();
  g.dv = dv.data();
  g.dq_strides = {1, 1, 1};
  g.dk_strides = g.dv_strides = {2, 1, 1};
  attention_bwd(Device{}, g);
  // ds = p (dp - D) with dp = (16, 8), D = 10: (1.5, -1.5).
  CHECK(dv[0] == Approx(0.5F));
  CHECK(dv[1] == Approx(1.5F));
  CHECK(dk[0] == Approx(1.5F));
  CHECK(dk[1] == Approx(-1.5F));
  CHECK(dq[0] == Approx(-1.5F * ln3));
}

TEST_CASE("attention: gradients", "[attention]") {
  for (const Case& c :
       {Case{2, 2, 3, 4, 3}, Case{2, 1, 4, 4, 2, true, 0}, Case{2, 2, 3, 5, 3, true, 1, true}}) {
    Data<double> data(c);
    const auto loss = [&] {
      reference::attention_fwd(data.fwd());
      double total = 0;
      for (size_t i = 0; i < data.o.size(); ++i) total += data.o[i] * data.d_o[i];
      return total;
    };
    loss();
    reference::attention_bwd(data.bwd());
    const auto check = [&](std::vector<double>& values, const std::vector<double>& gradient) {
      for (size_t i = 0; i < values.size(); ++i) {
        const double kept = values[i];
        values[i] = kept + 1e-5;
        const double above = loss();
        values[i] = kept - 1e-5;
        const double below = loss();
        values[i] = kept;
        INFO(i);
        CHECK((std::abs((above - below) / 2e-5 - gradient[i]) < 1e-6));
      }
    };
    check(data.q, data.dq);
    check(data.kv, data.dkv);
  }
}

TEST_CASE("attention: parity with the oracle", "[attention]") {
  for (const int64_t length : {1, 31, 32, 33, 127, 257}) check_parity({2, 2, length, length, 64});
  check_parity({1, 2, 50, 50, 32, true});
  check_parity({2, 1, 33, 300, 16, true, 267, true});
  check_parity({2, 2, 40, 530, 8, true, 20});        // several key tiles, some out of reach
  check_parity({3, 2, 19, 23, 13, false, 0, true});  // odd head size, a batch entry without keys
  check_parity({2, 3, 9, 9, 1, true, -3, true});     // the first rows see nothing
  for (const int64_t queries : {1, 5, 8}) check_parity({2, 3, queries, 300, 64, true, 300 - queries, true});
  check_parity({2, 3, 2, 300, 64, true, 290});
  check_parity({2, 3, 1, 300, 20});
  check_parity({1, 1, 0, 4, 16});
  check_parity({1, 2, 3, 0, 16});
  check_parity({0, 2, 3, 3, 16});
}

TEST_CASE("attention: a masked row is zero, and masked keys may hold NaN", "[attention]") {
  on_every_isa([] {
    Data<float> clean({2, 2, 5, 21, 16, false, 0, true});
    Data<float> dirty = clean;
    attention_fwd(Device{}, clean.fwd());
    attention_bwd(Device{}, clean.bwd());
    const int64_t row = 2 * 2 * 16;
    for (size_t j = 0; j < dirty.valid.size(); ++j) {
      if (dirty.valid[j] == 0)
        std::fill_n(dirty.kv.begin() + static_cast<int64_t>(j) * row, row, std::nanf(""));
    }
    attention_fwd(Device{}, dirty.fwd());
    attention_bwd(Device{}, dirty.bwd());
    CHECK(dirty.o == clean.o);
    CHECK(dirty.dq == clean.dq);
    CHECK(dirty.dkv == clean.dkv);
    CHECK(clean.o[0] == 0.0F);
    CHECK(clean.dq[0] == 0.0F);
    CHECK(clean.dkv[0] == 0.0F);
    CHECK(clean.lse[0] == -std::numeric_limits<float>::infinity());
    // A NaN that may be attended must show.
    dirty = clean;
    dirty.q.back() = std::nanf("");
    attention_fwd(Device{}, dirty.fwd());
    CHECK(std::isnan(dirty.o.back()));
  });
}

TEST_CASE("attention: large scores, and the same bits twice", "[attention]") {
  Data<float> a({2, 3, 70, 300, 32, true, 230});
  for (float& x : a.q) x *= 100;
  Data<float> b = a;
  attention_fwd(Device{}, a.fwd());
  attention_bwd(Device{}, a.bwd());
  attention_fwd(Device{}, b.fwd());
  attention_bwd(Device{}, b.bwd());
  for (const float x : a.o) REQUIRE(std::isfinite(x));
  CHECK(a.o == b.o);
  CHECK(a.lse == b.lse);
  CHECK(a.dq == b.dq);
  CHECK(a.dkv == b.dkv);
}

}  // namespace clipcap
