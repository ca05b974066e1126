/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ipsec/charon-plugin/watchdog.h"

#include <library.h>
#include <processing/jobs/callback_job.h>
#include <systemd/sd-daemon.h>

static job_requeue_t send_alive(void* pause_ms) {
  sd_notify(0, "WATCHDOG=1");
  return JOB_RESCHEDULE_MS((uint32_t)(uintptr_t)pause_ms);
}

void watchdog_start(void) {
  uint64_t allowed_us = 0;
  uintptr_t pause_ms;

  if (sd_watchdog_enabled(0, &allowed_us) <= 0) {
    return;
  }
  pause_ms = (uintptr_t)max(1, min(allowed_us / 2000, UINT32_MAX));
  /* The next thread that becomes free: with ten thousand tunnels the queues may be long, and charon at work. */
  lib->processor->queue_job(lib->processor, (job_t*)callback_job_create_with_prio(send_alive, (void*)pause_ms, NULL,
                                                                                  NULL, JOB_PRIO_CRITICAL));
}
