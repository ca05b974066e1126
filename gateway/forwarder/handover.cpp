// SPDX-License-Identifier: GPL-2.0-or-later
//
// The one thing that must not happen is that two processes go on with the same SA: the second one would repeat sequence
// numbers, that is nonces. Therefore
//   * traffic is packed after the workers have ended, and the process that packed it never sends again;
//   * what is packed can be taken out of its socket once, and the state in it is overwritten as soon as it was read;
//   * the successor that cannot use the state forgets it and starts from nothing, and charon negotiates new SAs.
#include "gateway/forwarder/handover.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "platform/sys/descriptor_bundle.h"

namespace simplon::forwarder {
namespace {

// Chosen by us.
constexpr std::size_t kMaxBytes = std::size_t{4} << 30;

Result<SecretBytes> read_once(int memory) {
  struct stat info {};
  if (::fstat(memory, &info) != 0 || !S_ISREG(info.st_mode) || info.st_size < 0) {
    return fail(ErrorCode::kPeer, "the state that was handed over is no memory");
  }
  const auto size = static_cast<std::size_t>(info.st_size);
  if (size == 0 || size > kMaxBytes) {
    return fail(ErrorCode::kPeer, "the state that was handed over has " + std::to_string(size) + " bytes");
  }
  void* base = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
  if (base == MAP_FAILED) return fail_errno("cannot map the state that was handed over", errno);
  const auto* first = static_cast<const std::uint8_t*>(base);
  SecretBytes bytes(first, first + size);
  // Keys: and nobody can use them a second time.
  ::explicit_bzero(base, size);
  ::munmap(base, size);
  return bytes;
}

Result<sys::UniqueFd> write_down(const SecretBytes& bytes) {
  sys::UniqueFd memory(::memfd_create("simplon-handover", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!memory.valid()) return fail_errno("cannot create memory for the state", errno);
  if (::ftruncate(memory.get(), static_cast<off_t>(bytes.size())) != 0) return fail_errno("no memory for the state", errno);
  void* base = ::mmap(nullptr, bytes.size(), PROT_READ | PROT_WRITE, MAP_SHARED, memory.get(), 0);
  if (base == MAP_FAILED) return fail_errno("cannot map memory for the state", errno);
  std::memcpy(base, bytes.data(), bytes.size());
  ::munmap(base, bytes.size());
  // The reader overwrites it, so it stays writable; nobody changes its size under the reader.
  if (::fcntl(memory.get(), F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) != 0) {
    return fail_errno("cannot seal the state", errno);
  }
  return memory;
}

template <class Handed>
Result<Taken<Handed>> unpack(int packed, Result<Handed> (*decode)(std::span<const std::uint8_t>)) {
  auto descriptors = sys::unbundle_descriptors(packed);
  if (!descriptors) return Unexpected(descriptors.error());
  const auto bytes = read_once(descriptors->front().get());
  if (!bytes) return Unexpected(bytes.error());
  auto state = decode(*bytes);
  if (!state) return Unexpected(state.error());
  descriptors->erase(descriptors->begin());
  if (descriptors->size() != state->descriptors()) {
    return fail(ErrorCode::kPeer, std::to_string(descriptors->size()) + " descriptors were handed over instead of " +
                                      std::to_string(state->descriptors()));
  }
  return Taken<Handed>{*std::move(state), *std::move(descriptors)};
}

}  // namespace

template <class Handed>
Result<sys::UniqueFd> pack(const Handed& handed, std::span<const int> descriptors) {
  const auto memory = write_down(encode_handover(handed));
  if (!memory) return Unexpected(memory.error());
  std::vector<int> all{memory->get()};
  all.insert(all.end(), descriptors.begin(), descriptors.end());
  return sys::bundle_descriptors(all);
}

template Result<sys::UniqueFd> pack(const HandedTables& handed, std::span<const int> descriptors);
template Result<sys::UniqueFd> pack(const HandedTraffic& handed, std::span<const int> descriptors);

Result<Taken<HandedTables>> unpack_tables(int packed) { return unpack<HandedTables>(packed, decode_tables); }
Result<Taken<HandedTraffic>> unpack_traffic(int packed) { return unpack<HandedTraffic>(packed, decode_traffic); }

}  // namespace simplon::forwarder
