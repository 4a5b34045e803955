#include "tensor/parallel.h"

#include <omp.h>

#include <atomic>
#include <cstdint>
#include <stdexcept>
#include <thread>
#include <vector>

#include "tensor/check.h"
#include "tensor/kernels/activation.h"
#include "tensor/kernels/layer_norm.h"
#include "tensor/kernels/matmul.h"
#include "tests/compare.h"
#include "tests/tensor/on_every_isa.h"

using namespace clipcap;
using namespace clipcap::testing;

namespace {

struct RestoreThreads {
  int before = thread_count();
  ~RestoreThreads() { set_thread_count(before); }
};

// How often parallel_for visited each index of [0, count), and in how many pieces.
struct Visits {
  std::vector<int> times;
  int pieces = 0;
};

Visits visit(int64_t count, int64_t grain) {
  Visits seen{std::vector<int>(static_cast<size_t>(std::max<int64_t>(count, 0)), 0)};
  std::atomic<int> pieces{0};
  parallel_for(count, grain, [&](int64_t begin, int64_t end) {
    ++pieces;
    if (begin < 0 || begin >= end || end > count) throw std::logic_error("a piece outside the range");
    for (int64_t i = begin; i < end; ++i) ++seen.times[static_cast<size_t>(i)];  // a race if pieces overlap
  });
  seen.pieces = pieces;
  return seen;
}

// The gradients of one layer_norm and one bias_activation, as bits that depend on how rows are split.
std::vector<float> row_gradients() {
  const int64_t rows = 300;
  const int64_t dim = 67;
  const auto s = random_values<float>(rows * dim, 1);
  const auto dy = random_values<float>(rows * dim, 2);
  const auto gamma = random_values<float>(dim, 3, 1.0);
  const std::vector<float> mean(static_cast<size_t>(rows), 0.2F);
  const std::vector<float> rstd(static_cast<size_t>(rows), 1.1F);
  std::vector<float> ds(s.size());
  std::vector<float> sums(static_cast<size_t>(3 * dim));
  LayerNormBwd<float> norm{};
  norm.dy = dy.data();
  norm.s = s.data();
  norm.gamma = gamma.data();
  norm.mean = mean.data();
  norm.rstd = rstd.data();
  norm.ds = ds.data();
  norm.dgamma = sums.data();
  norm.dbeta = sums.data() + dim;
  norm.rows = rows;
  norm.dim = dim;
  layer_norm_bwd(kCpu, norm);
  BiasActivationBwd<float> gelu{};
  gelu.dy = dy.data();
  gelu.x = s.data();
  gelu.dx = ds.data();
  gelu.dbias = sums.data() + 2 * dim;
  gelu.rows = rows;
  gelu.dim = dim;
  gelu.activation = Activation::gelu;
  bias_activation_bwd(kCpu, gelu);
  return sums;
}

}  // namespace

TEST_CASE("parallel_for: every index once, in no more pieces than the grain allows", "[parallel]") {
  const RestoreThreads restore;
  for (const int threads : {1, 2, 3, 7}) {
    set_thread_count(threads);
    for (const int64_t count : {-3, 0, 1, 2, 3, 6, 7, 8, 64, 1001}) {
      for (const int64_t grain : {-1, 0, 1, 2, 5, 64, 5000}) {
        INFO("threads " << threads << " count " << count << " grain " << grain);
        const Visits seen = visit(count, grain);
        CHECK(seen.times == std::vector<int>(seen.times.size(), 1));
        const int64_t most = grain > 0 ? (count + grain - 1) / grain : count;
        CHECK((seen.pieces <= std::max<int64_t>(0, std::min<int64_t>(most, threads))));
        if (count >= threads && grain == 1) CHECK(seen.pieces == threads);  // and no fewer
      }
    }
  }
}

TEST_CASE("parallel_for: the first exception arrives at the caller, and the threads are usable again",
          "[parallel]") {
  const RestoreThreads restore;
  for (const int threads : {1, 4}) {
    set_thread_count(threads);
    std::atomic<int> pieces{0};
    const auto throwing = [&](bool all) {
      parallel_for(4, 1, [&](int64_t begin, int64_t) {
        ++pieces;
        if (all || begin == 0) throw std::runtime_error("piece " + std::to_string(begin));
      });
    };
    CHECK_THROWS_WITH(throwing(false), "piece 0");
    CHECK_THROWS_AS(throwing(true), std::runtime_error);
    CHECK(pieces == 2 * threads);  // a piece that throws does not keep the others from running
    CHECK_THROWS_AS(parallel_for(4, 1, [](int64_t, int64_t) { throw 7; }), int);
    CHECK(visit(100, 1).times == std::vector<int>(100, 1));
  }
}

TEST_CASE("parallel_for: nested calls run serially, exceptions included", "[parallel]") {
  const RestoreThreads restore;
  set_thread_count(3);
  std::vector<int> times(30, 0);
  std::atomic<int> inner_pieces{0};
  parallel_for(3, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      parallel_for(10, 1, [&](int64_t from, int64_t to) {
        ++inner_pieces;
        for (int64_t j = from; j < to; ++j) ++times[static_cast<size_t>(10 * i + j)];
      });
    }
  });
  CHECK(times == std::vector<int>(30, 1));
  CHECK(inner_pieces == 3);
  const auto nested = [] {
    parallel_for(3, 1, [](int64_t begin, int64_t) {
      parallel_for(2, 1, [&](int64_t, int64_t) {
        if (begin == 2) throw std::runtime_error("from within");
      });
    });
  };
  CHECK_THROWS_WITH(nested(), "from within");
}

TEST_CASE("parallel_for: several threads call it at once", "[parallel]") {
  const RestoreThreads restore;
  set_thread_count(2);
  std::atomic<int> wrong{0};
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 4; ++caller) {
    callers.emplace_back([&] {
      for (int round = 0; round < 50; ++round) {
        std::vector<int> times(257, 0);
        parallel_for(257, 16, [&](int64_t begin, int64_t end) {
          for (int64_t i = begin; i < end; ++i) ++times[static_cast<size_t>(i)];
        });
        if (times != std::vector<int>(257, 1)) ++wrong;
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  CHECK(wrong == 0);
}

TEST_CASE("set_thread_count: one number for the whole program, whichever thread asks", "[parallel]") {
  const RestoreThreads restore;
  for (const int wanted : {3, 5}) {
    set_thread_count(wanted);
    int seen = 0;
    int pieces = 0;
    int library = 0;
    std::thread other([&] {
      seen = thread_count();
      pieces = visit(100, 1).pieces;
      // A product large enough for the library; afterwards it must have been told the same number.
      const std::vector<float> a(64 * 64, 1.0F);
      std::vector<float> c(64 * 64);
      Matmul<float> p{};
      p.a = p.b = a.data();
      p.c = c.data();
      p.batch = 1;
      p.m = p.n = p.k = 64;
      p.b_transposed = true;
      matmul(kCpu, p);
      library = omp_get_max_threads();
    });
    other.join();
    CHECK(seen == wanted);
    CHECK(pieces == wanted);
    CHECK(library == wanted);
    std::thread([] { set_thread_count(2); }).join();
    CHECK(thread_count() == 2);
  }
  CHECK_THROWS_AS(set_thread_count(0), Error);
  CHECK_THROWS_AS(set_thread_count(-1), Error);
}

TEST_CASE("kernels that sum over rows give the same bits inside other parallel work", "[parallel]") {
  const RestoreThreads restore;
  on_every_isa([] {
    for (const int threads : {1, 2, 3}) {
      INFO("threads " << threads);
      set_thread_count(threads);
      const std::vector<float> alone = row_gradients();
      // In an OpenMP region of more threads than the program's: thread numbers beyond thread_count().
      std::vector<std::vector<float>> inside(6);
#pragma omp parallel for num_threads(6)
      for (int i = 0; i < 6; ++i) inside[static_cast<size_t>(i)] = row_gradients();  // NOLINT
      for (const auto& sums : inside) CHECK(sums == alone);
      std::vector<std::vector<float>> nested(4);
      parallel_for(4, 1, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) nested[static_cast<size_t>(i)] = row_gradients();
      });
      for (const auto& sums : nested) CHECK(sums == alone);
      std::vector<std::vector<float>> beside(3);
      std::vector<std::thread> callers;
      for (auto& sums : beside) callers.emplace_back([&sums] { sums = row_gradients(); });
      for (std::thread& caller : callers) caller.join();
      for (const auto& sums : beside) CHECK(sums == alone);
    }
  });
}

TEST_CASE("thread_scratch: aligned, one buffer a slot and thread, kept when it is large enough",
          "[parallel]") {
  void* first = thread_scratch(100, 0);
  void* second = thread_scratch(100, 1);
  CHECK(first != second);
  CHECK(reinterpret_cast<uintptr_t>(first) % 64 == 0);
  CHECK(reinterpret_cast<uintptr_t>(second) % 64 == 0);
  CHECK(thread_scratch(10, 0) == first);
  auto* large = static_cast<uint8_t*>(thread_scratch(1 << 20, 0));
  std::fill_n(large, 1 << 20, uint8_t{1});  // the sanitizer sees whether all of it is there
  CHECK(thread_scratch(100, 1) == second);
  void* elsewhere = nullptr;
  std::thread([&] { elsewhere = thread_scratch(100, 1); }).join();
  CHECK(elsewhere != second);
  CHECK_THROWS(thread_scratch(1, 8));
}
