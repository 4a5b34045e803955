#include "tensor/kernels/lstm.h"

#include "tests/compare.h"
#include "tests/tensor/on_every_isa.h"

namespace clipcap {
namespace {

using testing::check_against_oracle;
using testing::on_every_isa;
using testing::random_values;

struct Case {
  int64_t batch, steps, hidden;
  bool reverse = false;
  bool ragged = false;
  bool states = true;
};

template <class T>
struct Data {
  Case s;
  std::vector<T> x, w, h0, c0, dh, dh_last, dc_last;                     // inputs
  std::vector<T> h, c, gates, h_last, c_last, dx, h_previous, dh0, dc0;  // results
  std::vector<int32_t> lengths;

  explicit Data(const Case& wanted) : s(wanted) {
    const int64_t states = s.batch * s.hidden;
    const int64_t all = states * s.steps;
    x = random_values<T>(4 * all, 1);
    w = random_values<T>(4 * s.hidden * s.hidden, 2, 0.02,
                         0.7 / std::sqrt(static_cast<double>(s.hidden) + 1e-9));
    h0 = random_values<T>(states, 3);
    c0 = random_values<T>(states, 4);
    dh = random_values<T>(all, 5);
    dh_last = random_values<T>(states, 6);
    dc_last = random_values<T>(states, 7);
    for (auto* out : {&h, &c, &h_previous}) out->assign(all, T{7});
    for (auto* out : {&gates, &dx}) out->assign(4 * all, T{7});
    for (auto* out : {&h_last, &c_last, &dh0, &dc0}) out->assign(states, T{7});
    for (int64_t b = 0; b < s.batch; ++b)
      lengths.push_back(static_cast<int32_t>((b * 5 + 3) % (s.steps + 1)));
  }
  const int32_t* length_data() const { return s.ragged ? lengths.data() : nullptr; }
  LstmFwd<T> fwd() {
    return {.x_gates = x.data(),
            .w_hh = w.data(),
            .h0 = s.states ? h0.data() : nullptr,
            .c0 = s.states ? c0.data() : nullptr,
            .lengths = length_data(),
            .h = h.data(),
            .c = c.data(),
            .gates = gates.data(),
            .h_last = h_last.data(),
            .c_last = c_last.data(),
            .batch = s.batch,
            .steps = s.steps,
            .hidden = s.hidden,
            .reverse = s.reverse};
  }
  LstmBwd<T> bwd() {
    return {.dh = dh.data(),
            .dh_last = s.states ? dh_last.data() : nullptr,
            .dc_last = s.states ? dc_last.data() : nullptr,
            .w_hh = w.data(),
            .h = h.data(),
            .h0 = s.states ? h0.data() : nullptr,
            .gates = gates.data(),
            .c = c.data(),
            .c0 = s.states ? c0.data() : nullptr,
            .lengths = length_data(),
            .dx_gates = dx.data(),
            .h_previous = h_previous.data(),
            .dh0 = dh0.data(),
            .dc0 = dc0.data(),
            .batch = s.batch,
            .steps = s.steps,
            .hidden = s.hidden,
            .reverse = s.reverse};
  }
};

void check_parity(const Case& s) {
  INFO("B " << s.batch << " T " << s.steps << " H " << s.hidden << " reverse " << s.reverse << " ragged "
            << s.ragged);
  Data<double> oracle(s);
  Data<float> plain(s);
  reference::lstm_fwd(oracle.fwd());
  reference::lstm_fwd(plain.fwd());
  reference::lstm_bwd(oracle.bwd());
  reference::lstm_bwd(plain.bwd());
  on_every_isa([&] {
    Data<float> fast(s);
    lstm_fwd(Device{}, fast.fwd());
    lstm_bwd(Device{}, fast.bwd());
    check_against_oracle(fast.h, plain.h, oracle.h);
    check_against_oracle(fast.c, plain.c, oracle.c);
    check_against_oracle(fast.gates, plain.gates, oracle.gates);
    check_against_oracle(fast.h_last, plain.h_last, oracle.h_last);
    check_against_oracle(fast.c_last, plain.c_last, oracle.c_last);
    check_against_oracle(fast.dx, plain.dx, oracle.dx);
    check_against_oracle(fast.h_previous, plain.h_previous, oracle.h_previous);
    check_against_oracle(fast.dh0, plain.dh0, oracle.dh0);
    check_against_oracle(fast.dc0, plain.dc0, oracle.dc0);
  });
}

}  // namespace

TEST_CASE("lstm: one unit, two steps by hand", "[lstm]") {
  // Gates at a = 0: 1/2, 1/2, 0, 1/2; x only feeds g: tanh(atanh 0.5) = 0.5. w_hh adds h to o's argument.
  const float g = std::atanh(0.5F);
  const std::vector<float> x{0, 0, g, 0, 0, 0, g, 0};
  const std::vector<float> w{0, 0, 0, 2};
  std::vector<float> h(2);
  std::vector<float> c(2);
  lstm_fwd(Device{}, {.x_gates = x.data(),
                      .w_hh = w.data(),
                      .h = h.data(),
                      .c = c.data(),
                      .batch = 1,
                      .steps = 2,
                      .hidden = 1});
  const float h1 = 0.5F * std::tanh(0.25F);
  CHECK(c[0] == Approx(0.25F));
  CHECK(h[0] == Approx(h1));
  CHECK(c[1] == Approx(0.375F));
  CHECK(h[1] == Approx(std::tanh(0.375F) / (1 + std::exp(-2 * h1))));
}

TEST_CASE("lstm: gradients", "[lstm]") {
  for (const Case& s : {Case{2, 3, 2}, Case{3, 4, 2, true, true}, Case{3, 3, 3, false, true, false}}) {
    Data<double> data(s);
    const auto loss = [&] {
      reference::lstm_fwd(data.fwd());
      double total = 0;
      for (size_t i = 0; i < data.h.size(); ++i) total += data.h[i] * data.dh[i];
      for (size_t i = 0; s.states && i < data.h_last.size(); ++i) {
        total += data.h_last[i] * data.dh_last[i] + data.c_last[i] * data.dc_last[i];
      }
      return total;
    };
    loss();
    reference::lstm_bwd(data.bwd());
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
    check(data.x, data.dx);
    if (s.states) {
      check(data.h0, data.dh0);
      check(data.c0, data.dc0);
    }
  }
}

TEST_CASE("lstm: parity with the oracle", "[lstm]") {
  for (const int64_t hidden : {1, 31, 32, 33, 127}) check_parity({3, 4, hidden});
  check_parity({7, 6, 64, true, true});
  check_parity({13, 5, 40, false, true, false});
  for (const int64_t batch : {1, 2, 4, 5, 8, 11, 37, 70}) check_parity({batch, 3, 24, true, true});
  check_parity({2, 3, 257});
  check_parity({2, 1, 48});
  check_parity({2, 0, 16});
  check_parity({0, 3, 16});
}

TEST_CASE("lstm: what each step saw as h", "[lstm]") {
  on_every_isa([] {
    for (const bool reverse : {false, true}) {
      for (const bool states : {false, true}) {
        for (const bool oracle : {false, true}) {
          INFO("reverse " << reverse << " states " << states << " reference " << oracle);
          Data<float> data({4, 3, 5, reverse, true, states});
          data.lengths = {3, 1, 0, 2};
          oracle ? reference::lstm_fwd(data.fwd()) : lstm_fwd(Device{}, data.fwd());
          oracle ? reference::lstm_bwd(data.bwd()) : lstm_bwd(Device{}, data.bwd());
          for (int64_t b = 0; b < 4; ++b) {
            const int64_t length = data.lengths[static_cast<size_t>(b)];
            for (int64_t t = 0; t < 3; ++t) {
              const int64_t before = reverse ? t + 1 : t - 1;
              for (int64_t u = 0; u < 5; ++u) {
                float expected = 0;
                if (t < length && before >= 0 && before < length) expected = data.h[(b * 3 + before) * 5 + u];
                if (t < length && (before < 0 || before == length))
                  expected = states ? data.h0[b * 5 + u] : 0;
                CHECK(data.h_previous[(b * 3 + t) * 5 + u] == expected);
              }
            }
          }
        }
      }
    }
  });
}

TEST_CASE("lstm: lengths outside [0, T] count as 0 and T", "[lstm]") {
  on_every_isa([] {
    for (const bool reverse : {false, true}) {
      for (const bool oracle : {false, true}) {
        INFO("reverse " << reverse << " reference " << oracle);
        Data<float> tame({3, 4, 21, reverse, true});
        tame.lengths = {4, 0, 2};
        Data<float> wild = tame;
        wild.lengths = {9, -1, 2};
        for (Data<float>* data : {&tame, &wild}) {
          oracle ? reference::lstm_fwd(data->fwd()) : lstm_fwd(Device{}, data->fwd());
          oracle ? reference::lstm_bwd(data->bwd()) : lstm_bwd(Device{}, data->bwd());
        }
        CHECK(wild.h == tame.h);
        CHECK(wild.c_last == tame.c_last);
        CHECK(wild.dx == tame.dx);
        CHECK(wild.h_previous == tame.h_previous);
        CHECK(wild.dh0 == tame.dh0);
      }
    }
  });
}

TEST_CASE("lstm: T steps are T calls of one step, backwards is a flip, and bits repeat", "[lstm]") {
  on_every_isa([] {
    Data<float> whole({3, 5, 40});
    lstm_fwd(Device{}, whole.fwd());
    Data<float> again({3, 5, 40});
    lstm_fwd(Device{}, again.fwd());
    CHECK(whole.h == again.h);
    lstm_bwd(Device{}, whole.bwd());
    lstm_bwd(Device{}, again.bwd());
    CHECK(whole.dx == again.dx);
    CHECK(whole.dh0 == again.dh0);

    // One sequence, step by step; it does not see the rest of its batch either.
    std::vector<float> h(whole.h0.begin(), whole.h0.begin() + 40);
    std::vector<float> c(whole.c0.begin(), whole.c0.begin() + 40);
    std::vector<float> out(40);
    for (int t = 0; t < 5; ++t) {
      lstm_fwd(Device{}, {.x_gates = whole.x.data() + t * 160,
                          .w_hh = whole.w.data(),
                          .h0 = h.data(),
                          .c0 = c.data(),
                          .h = out.data(),
                          .h_last = h.data(),
                          .c_last = c.data(),
                          .batch = 1,
                          .steps = 1,
                          .hidden = 40});
      CHECK(out == std::vector<float>(whole.h.begin() + t * 40, whole.h.begin() + (t + 1) * 40));
    }
    CHECK(h == std::vector<float>(whole.h_last.begin(), whole.h_last.begin() + 40));

    Data<float> flipped({3, 5, 40, true});
    for (int b = 0; b < 3; ++b) {
      for (int t = 0; t < 5; ++t) {
        std::copy_n(whole.x.begin() + (b * 5 + t) * 160, 160, flipped.x.begin() + (b * 5 + 4 - t) * 160);
      }
    }
    lstm_fwd(Device{}, flipped.fwd());
    CHECK(flipped.h_last == whole.h_last);
    CHECK(std::equal(whole.h.begin(), whole.h.begin() + 40, flipped.h.begin() + 160));
  });
}

}  // namespace clipcap
