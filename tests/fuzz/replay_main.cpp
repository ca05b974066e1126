// SPDX-License-Identifier: GPL-2.0-or-later
//
// Replays a fuzz corpus with any compiler: each file given, and each file of each folder given, goes once through
// LLVMFuzzerTestOneInput. A crash names the file that was being read; an empty corpus is an error, because a replay
// that replays nothing proves nothing.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

void replay(const std::uint8_t* bytes, std::size_t size) {
  // An exact-size heap copy, so that a read past the end is seen by AddressSanitizer.
  const auto copy = std::make_unique<std::uint8_t[]>(size);
  std::copy_n(bytes, size, copy.get());
  LLVMFuzzerTestOneInput(copy.get(), size);
}

bool replay_file(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) {
    std::fprintf(stderr, "cannot read %s\n", path.c_str());
    return false;
  }
  const std::vector<char> content{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  std::printf("%s (%zu bytes)\n", path.c_str(), content.size());
  std::fflush(stdout);
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(content.data());
  replay(bytes, content.size());
  // Every truncation is an input of its own: the commonest way for a message to lie is to end early.
  const std::size_t step = std::max<std::size_t>(1, content.size() / 512);
  for (std::size_t size = 0; size < content.size(); size += step) replay(bytes, size);
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::filesystem::path> files;
  for (int i = 1; i < argc; ++i) {
    const std::filesystem::path path(argv[i]);
    if (!std::filesystem::is_directory(path)) {
      files.push_back(path);
      continue;
    }
    for (const auto& entry : std::filesystem::recursive_directory_iterator(path)) {
      if (entry.is_regular_file()) files.push_back(entry.path());
    }
  }
  std::sort(files.begin(), files.end());
  bool good = !files.empty();
  if (files.empty()) std::fprintf(stderr, "no corpus file: give files or folders that hold some\n");
  for (const auto& file : files) good = replay_file(file) && good;
  std::printf("%zu files replayed\n", files.size());
  return good ? 0 : 1;
}
