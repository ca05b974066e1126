/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIMPLON_IPSEC_CHARON_PLUGIN_WATCHDOG_H
#define SIMPLON_IPSEC_CHARON_PLUGIN_WATCHDOG_H

/*
 * Signs of life to the service manager (sd_watchdog_enabled(3)), twice in the time it allows between two; nothing
 * where it does not watch this process. charon-systemd itself only says that it is ready.
 *
 * Each is sent by a worker thread, when charon's scheduler has put it into their queue: none comes when the scheduler
 * stands still, when every worker waits, or when the process is stopped. Call once, while charon loads its plugins;
 * charon's end ends it.
 */
void watchdog_start(void);

#endif
