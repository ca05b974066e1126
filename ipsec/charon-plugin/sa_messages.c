/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ipsec/charon-plugin/sa_messages.h"

#include <crypto/crypters/crypter.h>
#include <crypto/signers/signer.h>
#include <ipsec/ipsec_types.h>
#include <utils/debug.h>

#include "ipsec/charon-plugin/sa_client.h"

static void put_bytes(struct simplon_sa_address* to, chunk_t bytes) {
  memset(to, 0, sizeof(*to));
  to->family = bytes.len == 4 ? 4 : 6;
  memcpy(to->bytes, bytes.ptr, min(bytes.len, sizeof(to->bytes)));
}

void sa_message_host(struct simplon_sa_address* to, host_t* host) { put_bytes(to, host->get_address(host)); }

host_t* sa_message_host_from(const struct simplon_sa_address* address, uint16_t port) {
  const chunk_t bytes = chunk_create((u_char*)address->bytes, address->family == 4 ? 4 : 16);
  return host_create_from_chunk(address->family == 4 ? AF_INET : AF_INET6, bytes, port);
}

void sa_message_id(struct simplon_sa_id* to, host_t* destination, uint32_t spi, uint8_t protocol) {
  memset(to, 0, sizeof(*to));
  sa_message_host(&to->destination, destination);
  to->spi = ntohl(spi);
  to->protocol = protocol;
}

/* `supported` has looked at the length. */
static uint16_t put_key(uint8_t* to, chunk_t key) {
  if (key.len) { /* else without a pointer */
    memcpy(to, key.ptr, key.len);
  }
  return (uint16_t)key.len;
}

static void put_selector(struct simplon_sa_selector* to, traffic_selector_t* ts) {
  memset(to, 0, sizeof(*to));
  put_bytes(&to->from, ts->get_from_address(ts));
  put_bytes(&to->to, ts->get_to_address(ts));
  to->protocol = ts->get_protocol(ts);
  to->port_from = ts->get_from_port(ts);
  to->port_to = ts->get_to_port(ts);
}

static bool put_selectors(struct simplon_sa_selector* to, uint32_t* count, linked_list_t* list) {
  enumerator_t* enumerator;
  traffic_selector_t* ts;
  bool fits = TRUE;

  *count = 0;
  enumerator = list->create_enumerator(list);
  while (fits && enumerator->enumerate(enumerator, &ts)) {
    if (*count == SIMPLON_SA_MAX_SELECTORS) {
      fits = FALSE;
    } else {
      put_selector(&to[(*count)++], ts);
    }
  }
  enumerator->destroy(enumerator);
  return fits;
}

/* The forwarder decides on key lengths: charon derives those that the standards give. */
static bool suite_supported(kernel_ipsec_add_sa_t* data) {
  switch (data->enc_alg) {
    case ENCR_AES_GCM_ICV16:
    case ENCR_CHACHA20_POLY1305:
      return data->int_alg == AUTH_UNDEFINED;
    case ENCR_AES_CBC:
    case ENCR_NULL:
      return data->int_alg == AUTH_HMAC_SHA2_256_128 || data->int_alg == AUTH_HMAC_SHA2_384_192 ||
             data->int_alg == AUTH_HMAC_SHA2_512_256;
    default:
      return FALSE;
  }
}

/* Says in the log what is refused and why. */
static bool supported(kernel_ipsec_sa_id_t* id, kernel_ipsec_add_sa_t* data) {
  const char* direction = data->inbound ? "inbound" : "outbound";
  const uint32_t spi = ntohl(id->spi);

  if (id->proto != IPPROTO_ESP) {
    DBG1(DBG_KNL, "%s SA %.8x refused: IP protocol %u, only ESP (50) is supported, not AH", direction, spi, id->proto);
    return FALSE;
  }
  if (data->mode != MODE_TUNNEL) {
    DBG1(DBG_KNL, "%s SA %.8x refused: mode %N, only tunnel mode is supported", direction, spi, ipsec_mode_names,
         data->mode);
    return FALSE;
  }
  if (data->ipcomp != 0) {
    DBG1(DBG_KNL, "%s SA %.8x refused: IPComp is not supported", direction, spi);
    return FALSE;
  }
  if (!suite_supported(data)) {
    DBG1(DBG_KNL,
         "%s SA %.8x refused: ESP suite %N/%N, supported are AES_GCM_16, CHACHA20_POLY1305 and AES_CBC with HMAC_SHA2",
         direction, spi, encryption_algorithm_names, data->enc_alg, integrity_algorithm_names, data->int_alg);
    return FALSE;
  }
  if (data->enc_key.len > SIMPLON_SA_MAX_KEY || data->int_key.len > SIMPLON_SA_MAX_KEY) {
    DBG1(DBG_KNL, "%s SA %.8x refused: keys of %zu and %zu bytes, at most %u fit", direction, spi, data->enc_key.len,
         data->int_key.len, SIMPLON_SA_MAX_KEY);
    return FALSE;
  }
  if (data->hw_offload == HW_OFFLOAD_YES) {
    DBG1(DBG_KNL, "%s SA %.8x refused: hw_offload=yes, the forwarder has none", direction, spi);
    return FALSE;
  }
  if (id->if_id == 0) {
    DBG1(DBG_KNL, "%s SA %.8x refused: it has no if_id, so it belongs to no tunnel of ours", direction, spi);
    return FALSE;
  }
  return TRUE;
}

bool sa_message_add(struct simplon_sa_add* to, kernel_ipsec_sa_id_t* id, kernel_ipsec_add_sa_t* data) {
  if (!supported(id, data)) {
    return FALSE;
  }
  memset(to, 0, sizeof(*to));
  sa_message_id(&to->id, id->dst, id->spi, id->proto);
  sa_message_host(&to->source, id->src);
  to->if_id = id->if_id;
  to->reqid = data->reqid;
  to->encryption = data->enc_alg;
  to->integrity = data->int_alg;
  to->encryption_key_length = put_key(to->encryption_key, data->enc_key);
  to->integrity_key_length = put_key(to->integrity_key, data->int_key);
  to->replay_window = data->replay_window;
  to->mode = MODE_TUNNEL;
  to->inbound = data->inbound;
  to->esn = data->esn;
  to->encap = data->encap;
  to->source_port = id->src->get_port(id->src);
  to->destination_port = id->dst->get_port(id->dst);
  to->copy_df = data->copy_df;
  to->copy_ecn = data->copy_ecn;
  to->copy_dscp =
      data->copy_dscp == DSCP_COPY_YES || data->copy_dscp == (data->inbound ? DSCP_COPY_IN_ONLY : DSCP_COPY_OUT_ONLY);
  if (data->lifetime) {
    /* rekey is randomized already, jitter is only told (kernel-netlink reads it so too) */
    to->limits.soft_seconds = data->lifetime->time.rekey;
    to->limits.hard_seconds = data->lifetime->time.life;
    to->limits.soft_bytes = data->lifetime->bytes.rekey;
    to->limits.hard_bytes = data->lifetime->bytes.life;
    to->limits.soft_packets = data->lifetime->packets.rekey;
    to->limits.hard_packets = data->lifetime->packets.life;
  }
  if (!put_selectors(to->source_selector, &to->source_selectors, data->src_ts) ||
      !put_selectors(to->destination_selector, &to->destination_selectors, data->dst_ts)) {
    memwipe(to, sizeof(*to));
    DBG1(DBG_KNL, "%s SA %.8x refused: more than %u traffic selectors", data->inbound ? "inbound" : "outbound",
         ntohl(id->spi), SIMPLON_SA_MAX_SELECTORS);
    return FALSE;
  }
  return TRUE;
}

bool sa_message_policy(struct simplon_sa_policy* to, kernel_ipsec_policy_id_t* id, kernel_ipsec_manage_policy_t* data) {
  memset(to, 0, sizeof(*to));
  if (data->type != POLICY_IPSEC) {
    DBG1(DBG_KNL, "policy %R === %R refused: pass and drop policies are the forwarder's own business", id->src_ts,
         id->dst_ts);
    return FALSE;
  }
  if (!data->sa || !data->sa->esp.use || data->sa->ah.use) {
    DBG1(DBG_KNL, "policy %R === %R refused: only ESP is supported", id->src_ts, id->dst_ts);
    return FALSE;
  }
  if (data->sa->esp.spi == 0) {
    DBG1(DBG_KNL, "policy %R === %R refused: traps are not supported, use start_action=start or none", id->src_ts,
         id->dst_ts);
    return FALSE;
  }
  switch (id->dir) {
    case POLICY_IN:
      to->direction = SIMPLON_SA_IN;
      break;
    case POLICY_OUT:
      to->direction = SIMPLON_SA_OUT;
      break;
    case POLICY_FWD:
      to->direction = SIMPLON_SA_FWD;
      break;
  }
  to->if_id = id->if_id;
  to->reqid = data->sa->reqid;
  to->priority = data->prio;
  to->spi = ntohl(data->sa->esp.spi);
  put_selector(&to->source, id->src_ts);
  put_selector(&to->destination, id->dst_ts);
  return TRUE;
}

const char* sa_message_reason(int status) {
  switch (status) {
    case SA_CLIENT_UNAVAILABLE:
      return "simplon-forwarder does not answer";
    case SIMPLON_SA_NOT_FOUND:
      return "not found";
    case SIMPLON_SA_NOT_SUPPORTED:
      return "the forwarder does not support it";
    case SIMPLON_SA_INVALID:
      return "the forwarder says it is invalid";
    case SIMPLON_SA_EXISTS:
      return "the SPI is in use with another key";
    case SIMPLON_SA_FULL:
      return "the forwarder has no room for more";
    default:
      return "unknown status";
  }
}

status_t sa_message_status(int status) {
  switch (status) {
    case SIMPLON_SA_OK:
      return SUCCESS;
    case SIMPLON_SA_NOT_FOUND:
      return NOT_FOUND;
    case SIMPLON_SA_NOT_SUPPORTED:
      return NOT_SUPPORTED;
    default:
      return FAILED;
  }
}
