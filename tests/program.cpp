#include "tests/program.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <iterator>
#include <regex>
#include <stdexcept>
#include <thread>

extern char** environ;

namespace clipcap::testing {
namespace {

namespace fs = std::filesystem;

std::string read_text(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

fs::path program_path() { return fs::read_symlink("/proc/self/exe").parent_path() / "clipcap"; }

fs::path folder_for_output() {
  std::string name = (fs::temp_directory_path() / "clipcap-run-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("no temporary folder " + name);
  return name;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> result;
  for (std::string& text : texts) result.push_back(text.data());
  result.push_back(nullptr);
  return result;
}

// The caller's environment without the names that `added` sets anew.
std::vector<std::string> environment_with(const std::vector<std::string>& added) {
  std::vector<std::string> result = added;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    const std::string name = text.substr(0, text.find('=') + 1);
    bool replaced = false;
    for (const std::string& other : added) replaced = replaced || other.rfind(name, 0) == 0;
    if (!replaced) result.push_back(text);
  }
  return result;
}

}  // namespace

Program::Program(const std::vector<std::string>& arguments, const RunOptions& options)
    : captured_(folder_for_output()) {
  std::vector<std::string> words{program_path().string()};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<std::string> added = options.environment;
  added.emplace_back("OMP_WAIT_POLICY=passive");
  if (options.threads) added.push_back("OMP_NUM_THREADS=" + *options.threads);
  std::vector<std::string> environment = environment_with(added);

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  const fs::path out = options.out_file.empty() ? captured_ / "out" : options.out_file;
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 1, out.c_str(), O_WRONLY | O_CREAT, 0600);
  posix_spawn_file_actions_addopen(&actions, 2, (captured_ / "err").c_str(), O_WRONLY | O_CREAT, 0600);
  posix_spawn_file_actions_addchdir_np(&actions, options.folder.c_str());
  // A runner that ignores signals (nohup, a shell's background job) must not hand that down.
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t defaults, none;
  sigemptyset(&none);
  sigemptyset(&defaults);
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGPIPE}) sigaddset(&defaults, number);
  posix_spawnattr_setsigdefault(&attributes, &defaults);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
  const int failed = posix_spawn(&pid_, words[0].c_str(), &actions, &attributes, pointers(words).data(),
                                 pointers(environment).data());
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  if (failed != 0) throw std::runtime_error("cannot start " + words[0]);
}

Program::~Program() {
  if (!code_) {
    ::kill(pid_, SIGKILL);
    reap(true);
  }
  std::error_code ignored;
  fs::remove_all(captured_, ignored);
}

void Program::signal(int number) const { ::kill(pid_, number); }

void Program::reap(bool block) {
  int status = 0;
  if (code_ || ::waitpid(pid_, &status, block ? 0 : WNOHANG) != pid_) return;
  code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

bool Program::running() {
  reap(false);
  return !code_;
}

std::string Program::err_so_far() const { return read_text(captured_ / "err"); }

Ran Program::wait(double seconds) {
  using Clock = std::chrono::steady_clock;
  const auto end = Clock::now() + std::chrono::duration<double>(seconds);
  while (running() && Clock::now() < end) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  if (running()) {
    ::kill(pid_, SIGKILL);
    reap(true);
  }
  return {*code_, read_text(captured_ / "out"), err_so_far()};
}

Ran run_program(const std::vector<std::string>& arguments, const RunOptions& options) {
  return Program(arguments, options).wait();
}

std::vector<std::string> split_command(const std::string& command) {
  std::vector<std::string> words;
  std::string word;
  bool quoted = false, begun = false;
  for (const char c : command + " ") {
    if (c == '\'') {
      quoted = !quoted;
      begun = true;
    } else if (c == ' ' && !quoted) {
      if (begun) words.push_back(word);
      word.clear();
      begun = false;
    } else {
      word += c;
      begun = true;
    }
  }
  if (!words.empty() && words.front() == "clipcap") words.erase(words.begin());
  return words;
}

std::string last_line(const std::string& text) {
  const size_t end = text.find_last_not_of('\n');
  if (end == std::string::npos) return "";
  const size_t before = text.rfind('\n', end);
  const size_t begin = before == std::string::npos ? 0 : before + 1;
  return text.substr(begin, end + 1 - begin);
}

bool matches(const std::string& text, const std::string& pattern) {
  return std::regex_search(text, std::regex(pattern, std::regex::icase));
}

}  // namespace clipcap::testing
