// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>

#include "gateway/forward/src/tables/stable_array.h"
#include "gateway/forward/src/tables/table_limits.h"

namespace simplon::forward {

/// ICMP errors that a worker sends, and answers to ARP requests and neighbor solicitations: so many a second, and so many at once
/// after a silence. 0 a second: none.
struct IcmpLimits {
  struct Rate {
    std::uint32_t per_second = 0;
    std::uint32_t burst = 0;
  };
  Rate all;
  Rate of_domain;
  Rate of_attachment;
  Rate answers_of_attachment;
};

/// Token buckets in units of one ICMP error: one for each attachment that errors go back to, one for each domain, and one for all.
/// What one attachment provokes, with a flood of packets whose hop limit is over, or one tenant with all it has, takes a part of
/// the whole; the rest of the path MTU discovery goes on. Answers about the gateway's addresses have a bucket of their own for each attachment, so that neither a flood of
/// questions silences the errors nor another attachment's the answers.
///
/// Threads: the worker's. Memory: a page for each 256 attachments that errors were made for, and one for answers.
class IcmpLimiter {
 public:
  explicit IcmpLimiter(const IcmpLimits& limits)
      : limits_(limits), domains_(kDomainShares), buckets_(kMaxAttachments), answer_buckets_(kMaxAttachments) {}

  /// `ingress`: slot of the attachment. `now` in nanoseconds of a clock that does not go back. False: nothing was taken.
  [[nodiscard]] bool take(std::uint32_t domain, std::uint32_t ingress, std::uint64_t now) noexcept {
    Bucket& own = buckets_[ingress];
    Bucket& tenant = domains_[domain % kDomainShares];
    const bool all_have = own.has_any(limits_.of_attachment, now) && tenant.has_any(limits_.of_domain, now) && all_.has_any(limits_.all, now);
    if (!all_have) return false;
    ++own.spent;
    ++tenant.spent;
    ++all_.spent;
    return true;
  }
  /// The same for an answer to a question from the attachment.
  [[nodiscard]] bool take_answer(std::uint32_t ingress, std::uint64_t now) noexcept {
    Bucket& own = answer_buckets_[ingress];
    if (!own.has_any(limits_.answers_of_attachment, now)) return false;
    ++own.spent;
    return true;
  }

 private:
  /// Of zeros: full.
  struct Bucket {
    std::uint64_t last;
    std::uint64_t spent;

    [[nodiscard]] bool has_any(const IcmpLimits::Rate& rate, std::uint64_t now) noexcept {
      if (rate.per_second == 0) return false;
      const std::uint64_t interval = 1'000'000'000 / rate.per_second;
      const std::uint64_t earned = (now - last) / interval;
      if (earned > 0) {
        spent = spent > earned ? spent - earned : 0;
        last = spent == 0 ? now : last + earned * interval;
      }
      return spent < rate.burst;
    }
  };

  IcmpLimits limits_;
  Bucket all_{};
  StableArray<Bucket> domains_;
  StableArray<Bucket> buckets_;
  StableArray<Bucket> answer_buckets_;
};

}  // namespace simplon::forward
