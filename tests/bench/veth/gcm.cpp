// SPDX-License-Identifier: GPL-2.0-or-later
//
// What AES-256-GCM alone costs on this core, with everything in its cache: the part of VXLAN -> ESP that no forwarder can
// avoid.
//
//     bench-gcm BYTES...        {"66": 64.8, ...}: nanoseconds of one encryption of so many bytes, the best of 20 runs
//
// ipsec-mb directly, with 12 bytes of associated data (ESN) over 256 buffers in turn.

#include <intel-ipsec-mb.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <vector>

namespace {

constexpr std::size_t kBuffers = 256;
constexpr std::size_t kBufferBytes = 2048;
constexpr int kEncryptions = 4096;
constexpr int kRuns = 20;

double cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

double nanoseconds(IMB_MGR* manager, const gcm_key_data& key, std::vector<std::uint8_t>& memory, std::size_t bytes) {
  gcm_context_data context{};
  const std::array<std::uint8_t, 12> nonce{};
  const std::array<std::uint8_t, 12> associated{};
  std::array<std::uint8_t, 16> tag{};
  double best = 1e9;
  for (int run = 0; run < kRuns; ++run) {
    const double start = cpu_seconds();
    for (std::size_t i = 0; i < kEncryptions; ++i) {
      std::uint8_t* buffer = &memory[i % kBuffers * kBufferBytes];
      IMB_AES256_GCM_ENC(manager, &key, &context, buffer, buffer, bytes, nonce.data(), associated.data(), associated.size(),
                         tag.data(), tag.size());
    }
    best = std::min(best, (cpu_seconds() - start) * 1e9 / kEncryptions);
  }
  return best;
}

}  // namespace

int main(int argc, char** argv) {
  IMB_MGR* manager = alloc_mb_mgr(0);
  if (manager == nullptr) {
    std::fprintf(stderr, "bench-gcm: ipsec-mb does not start on this CPU\n");
    return 1;
  }
  init_mb_mgr_auto(manager, nullptr);
  alignas(64) gcm_key_data key;
  const std::array<std::uint8_t, 32> secret{1, 2, 3};
  IMB_AES256_GCM_PRE(manager, secret.data(), &key);
  std::vector<std::uint8_t> memory(kBuffers * kBufferBytes, 0x5a);
  std::printf("{");
  for (int i = 1; i < argc; ++i) {
    const std::size_t bytes = std::strtoul(argv[i], nullptr, 10);
    if (bytes < 1 || bytes > kBufferBytes) {
      std::fprintf(stderr, "bench-gcm: %s is not 1 to %zu\n", argv[i], kBufferBytes);
      return 2;
    }
    std::printf("%s\"%zu\": %.1f", i == 1 ? "" : ", ", bytes, nanoseconds(manager, key, memory, bytes));
  }
  std::printf("}\n");
  free_mb_mgr(manager);
  return 0;
}
