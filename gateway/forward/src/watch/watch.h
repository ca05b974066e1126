// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>

#include "gateway/forward/drop.h"

namespace simplon::forward {

struct Burst;
struct PolicyNotes;

/// The stages, in packet order; `stage_info` in pipeline.h has their names and queues.
enum class Stage : std::uint8_t {
  kClassify,
  kVxlanDecap,
  kCircuitDecap,
  kEspLookup,
  kEspDecrypt,
  kIpForward,
  kPolice,
  kResolve,
  kPmtu,
  kIcmpErrors,
  kResolveAnswers,
  kPmtuAnswers,
  kVxlanEncap,
  kEspEncrypt,
  kCircuitEncap,
  kTransmit,
};

/// Somebody who looks at packets on their way: a trace or a capture.
///
/// Threads: the worker's, between two of its quiescent points; whoever installed the watch destroys it a grace period after
/// it took it away (Worker::watch). Never blocks, never allocates: the worker waits for nobody. Cost: nothing while there is
/// none but a test per burst, and one per dropped packet.
class Watch {
 public:
  Watch() = default;
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;
  virtual ~Watch() = default;

  /// The stage is about to run.
  virtual void entering(Burst& burst, Stage stage) noexcept = 0;
  /// It has run.
  virtual void passed(Burst& burst, Stage stage) noexcept = 0;
  /// Called inside a stage, while the packet's bytes are still there. `number`: in the burst.
  virtual void dropped(const Burst& burst, unsigned number, Drop reason) noexcept = 0;
  /// The packet is about to leave the burst in the middle of a stage, and goes on as one that the burst of another worker takes
  /// over. Its frame is the same. What the first call wrote the second one sees.
  virtual void handed_over(const Burst& /*burst*/, unsigned /*number*/) noexcept {}
  virtual void taken_over(const Burst& /*burst*/, unsigned /*number*/) noexcept {}
  /// `police` is done with the packet, which it passed on or dropped.
  virtual void policed(const Burst& /*burst*/, unsigned /*number*/, const PolicyNotes& /*notes*/) noexcept {}
  /// Nothing more comes of this burst.
  virtual void ended(const Burst& burst) noexcept = 0;
};

}  // namespace simplon::forward
