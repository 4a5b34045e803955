// The folder that a process writes: made, locked, tried out, cleaned; and put back when nothing came of it.
#include "clipcap/process/output_folder.h"

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>

#include "tests/error_message.h"
#include "tests/temporary_folder.h"

namespace clipcap {
namespace {

namespace fs = std::filesystem;

void write(const fs::path& path) {
  fs::create_directories(path.parent_path());
  std::ofstream(path) << "text";
}

}  // namespace

TEST_CASE("folders are made, and go again when nothing was written to them", "[output_folder]") {
  const TemporaryFolder scratch("output");
  const fs::path path = scratch.path() / "a" / "b" / "c";
  {
    const OutputFolder folder(path);
    CHECK(fs::is_directory(path));
    CHECK(fs::is_empty(path));
  }
  CHECK(!fs::exists(scratch.path() / "a"));
  {
    const OutputFolder folder(path);
    write(scratch.path() / "a" / "b" / "mine");
  }
  CHECK(!fs::exists(path));
  CHECK(fs::exists(scratch.path() / "a" / "b" / "mine"));
  fs::create_directories(path);  // one that was there stays
  { const OutputFolder folder(path); }
  CHECK(fs::is_directory(path));
}

TEST_CASE("what is in the way is named, and nothing is left of the attempt", "[output_folder]") {
  const TemporaryFolder scratch("output");
  const fs::path file = scratch.path() / "file";
  write(file);
  for (const fs::path& path : {file, file / "below", file / "far" / "below"}) {
    INFO(path.string());
    const std::string message = message_of<InputError>([&] { const OutputFolder folder(path); });
    CHECK(message.find(file.string()) != std::string::npos);
  }
  CHECK(fs::is_regular_file(file));
  CHECK_THROWS_AS(OutputFolder("/proc/nowhere/below"), InputError);
  if (::geteuid() == 0) return;  // who may write everywhere
  const fs::path closed = scratch.path() / "closed";
  fs::create_directory(closed);
  fs::permissions(closed, fs::perms::owner_read | fs::perms::owner_exec);
  CHECK_THROWS_AS(OutputFolder(closed), InputError);
  CHECK_THROWS_AS(OutputFolder(closed / "below"), InputError);
}

TEST_CASE("a folder is one process's at a time, and a killed one's no longer", "[output_folder]") {
  const TemporaryFolder scratch("output");
  const fs::path path = scratch.path() / "run";
  fs::create_directory(path);
  {
    const OutputFolder folder(path);
    // Locks belong to an opened folder, so a second opening in this process stands for another process.
    const std::string message = message_of<InputError>([&] { const OutputFolder second(path); });
    CHECK(message.find(path.string()) != std::string::npos);
    CHECK(message.find("another process") != std::string::npos);
    CHECK(fs::is_empty(path));
  }
  { const OutputFolder again(path); }
  int ready[2];
  REQUIRE(::pipe(ready) == 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const OutputFolder folder(path);
    if (::write(ready[1], "!", 1) == 1) ::pause();
    ::_exit(1);
  }
  char byte = 0;
  REQUIRE(::read(ready[0], &byte, 1) == 1);
  CHECK_THROWS_AS(OutputFolder(path), InputError);
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  CHECK_NOTHROW(OutputFolder(path));
  ::close(ready[0]);
  ::close(ready[1]);
}

TEST_CASE("temporary files of killed processes go, whatever looks like them stays", "[output_folder]") {
  const TemporaryFolder scratch("output");
  const fs::path path = scratch.path() / "run";
  const std::vector<std::string> leftovers{"model.safetensors.tmp.123", "last/checkpoint.safetensors.tmp.7",
                                           "best/config.json.tmp.4294967", ".probe.tmp.12"};
  const std::vector<std::string> others{
      "model.safetensors",           "notes.tmp", "x.tmp.", "x.tmp.12a", "tmp.12", "a.12",
      "last/checkpoint.safetensors", "x.tmpx.1"};
  for (const std::string& name : leftovers) write(path / name);
  for (const std::string& name : others) write(path / name);
  fs::create_directories(path / "folder.tmp.5");
  { const OutputFolder folder(path); }
  for (const std::string& name : leftovers) {
    INFO(name);
    CHECK(!fs::exists(path / name));
  }
  for (const std::string& name : others) {
    INFO(name);
    CHECK(fs::exists(path / name));
  }
  CHECK(fs::exists(path / "folder.tmp.5"));
}

TEST_CASE("where others may be writing, only dead processes' temporary files go", "[output_folder]") {
  const TemporaryFolder scratch("output");
  const pid_t dead = ::fork();
  if (dead == 0) ::_exit(0);
  ::waitpid(dead, nullptr, 0);
  const std::string gone = ".tmp." + std::to_string(dead);
  const std::string alive = ".tmp." + std::to_string(::getpid());
  for (const char* name : {"a", "b", "below/c"}) {
    write(scratch.path() / (name + gone));
    write(scratch.path() / (name + alive));
  }
  write(scratch.path() / "a");
  remove_dead_leftovers(scratch.path(), "a");
  CHECK(!fs::exists(scratch.path() / ("a" + gone)));
  CHECK(fs::exists(scratch.path() / ("b" + gone)));
  CHECK(fs::exists(scratch.path() / ("below/c" + gone)));
  remove_dead_leftovers(scratch.path());
  CHECK(!fs::exists(scratch.path() / ("b" + gone)));
  CHECK(!fs::exists(scratch.path() / ("below/c" + gone)));
  for (const char* name : {"a", "b", "below/c"}) CHECK(fs::exists(scratch.path() / (name + alive)));
  CHECK(fs::exists(scratch.path() / "a"));
  CHECK_NOTHROW(remove_dead_leftovers(scratch.path() / "absent"));
}

}  // namespace clipcap
