/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * charon's values as messages of the SA protocol, and the protocol's answers in charon's words.
 *
 * Pure but for the log: what the forwarder has no place for is refused here, by name. The message of an SA holds its keys:
 * whoever has sent it wipes it.
 */
#ifndef SIMPLON_IPSEC_CHARON_PLUGIN_SA_MESSAGES_H
#define SIMPLON_IPSEC_CHARON_PLUGIN_SA_MESSAGES_H

#include <kernel/kernel_ipsec.h>
#include <networking/host.h>

#include "gateway/ipc/sa_protocol.h"

void sa_message_host(struct simplon_sa_address* to, host_t* host);
/* NULL for an address of no family. The caller's. */
host_t* sa_message_host_from(const struct simplon_sa_address* address, uint16_t port);
/* spi: in network order, as charon has it. */
void sa_message_id(struct simplon_sa_id* to, host_t* destination, uint32_t spi, uint8_t protocol);

/* FALSE for an SA that the forwarder does not support, with a line in the log that says why; no key is in `to` then. */
bool sa_message_add(struct simplon_sa_add* to, kernel_ipsec_sa_id_t* id, kernel_ipsec_add_sa_t* data);
/* FALSE for what is not a policy of an SA of ours, with a line that says why. */
bool sa_message_policy(struct simplon_sa_policy* to, kernel_ipsec_policy_id_t* id, kernel_ipsec_manage_policy_t* data);

/* Of a status of sa_client_request: for the log, and for charon. */
const char* sa_message_reason(int status);
status_t sa_message_status(int status);

#endif
