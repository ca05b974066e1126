/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * charon plugin kernel-simplon: simplon-forwarder in place of the kernel's IPsec.
 *
 * The only file that sees strongSwan's headers: it flattens each call of kernel_ipsec_t into a message of the SA
 * protocol and hands it to sa_client. Keys pass through and are wiped; what is remembered of an SA is its destination
 * and SPI, to translate events and to let charon negotiate again what a restarted forwarder has lost.
 *
 *     charon worker threads --add_sa, add_policy...--> sa_client_request --> forwarder
 *     our thread  <--expire, mapping, lost-- sa_client_run <-- forwarder
 *        `--> charon->kernel->expire, ->mapping (they only queue a job)
 *
 * What looks wrong and is not: an outbound SA that is added is not yet used (KERNEL_POLICY_SPI: the outbound policy's
 * SPI activates it, which gives make before break); deletions of what was never added succeed (charon
 * deletes both SAs after a refused add_sa); policies are not updated when addresses change
 * (KERNEL_NO_POLICY_UPDATES: the forwarder finds the SA by SPI, not by address).
 */
#include <errno.h>
#include <unistd.h>

#include <collections/hashtable.h>
#include <crypto/crypters/crypter.h>
#include <crypto/signers/signer.h>
#include <daemon.h>
#include <ipsec/ipsec_types.h>
#include <kernel/kernel_ipsec.h>
#include <networking/host.h>
#include <plugins/plugin.h>
#include <processing/jobs/callback_job.h>
#include <threading/mutex.h>
#include <threading/thread.h>
#include <utils/debug.h>

#include "ipsec/charon-plugin/sa_client.h"

#define DEFAULT_SOCKET "/run/simplon/sa.sock"

typedef struct private_kernel_simplon_t private_kernel_simplon_t;
typedef struct private_plugin_t private_plugin_t;

struct private_kernel_simplon_t {
  kernel_ipsec_t public;
  sa_client* client;
  /* Runs sa_client_run; NULL until charon's own threads run (see start_thread). */
  thread_t* thread;
  mutex_t* mutex;
  /* sa_t by itself: SAs that the forwarder has from us. Guarded by mutex. */
  hashtable_t* sas;
};

struct private_plugin_t {
  plugin_t public;
};

typedef struct sa_t {
  uint32_t spi; /* network order, as charon has it */
  uint8_t protocol;
  host_t* destination;
} sa_t;

static u_int sa_hash(const void* key) {
  const sa_t* sa = key;
  return ntohl(sa->spi) * 2654435761u;
}

static bool sa_equals(const void* left, const void* right) {
  const sa_t* a = left;
  const sa_t* b = right;
  return a->spi == b->spi && a->protocol == b->protocol && a->destination->ip_equals(a->destination, b->destination);
}

static sa_t* sa_create(uint32_t spi, uint8_t protocol, host_t* destination) {
  sa_t* sa;

  INIT(sa, .spi = spi, .protocol = protocol, .destination = destination->clone(destination), );
  return sa;
}

static void sa_destroy(sa_t* sa) {
  if (sa) {
    sa->destination->destroy(sa->destination);
    free(sa);
  }
}

/* --- charon's values as the protocol has them --- */

static void put_bytes(struct simplon_sa_address* to, chunk_t bytes) {
  memset(to, 0, sizeof(*to));
  to->family = bytes.len == 4 ? 4 : 6;
  memcpy(to->bytes, bytes.ptr, min(bytes.len, sizeof(to->bytes)));
}

static void put_host(struct simplon_sa_address* to, host_t* host) { put_bytes(to, host->get_address(host)); }

static host_t* host_from(const struct simplon_sa_address* address, uint16_t port) {
  const chunk_t bytes = chunk_create((u_char*)address->bytes, address->family == 4 ? 4 : 16);
  return host_create_from_chunk(address->family == 4 ? AF_INET : AF_INET6, bytes, port);
}

/* `supported` has looked at the length. */
static uint16_t put_key(uint8_t* to, chunk_t key) {
  if (key.len) { /* else without a pointer */
    memcpy(to, key.ptr, key.len);
  }
  return (uint16_t)key.len;
}

static void put_id(struct simplon_sa_id* to, host_t* destination, uint32_t spi, uint8_t protocol) {
  memset(to, 0, sizeof(*to));
  put_host(&to->destination, destination);
  to->spi = ntohl(spi);
  to->protocol = protocol;
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

static const char* reason(int status) {
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

static status_t as_charon(int status) {
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

/* --- events --- */

static void hook_log(void* user, const char* message) { DBG1(DBG_KNL, "kernel-simplon: %s", message); }

static host_t* destination_of(private_kernel_simplon_t* this, const struct simplon_sa_id* id) {
  sa_t *found, lookup = {.spi = htonl(id->spi), .protocol = id->protocol};
  host_t* destination = NULL;

  lookup.destination = host_from(&id->destination, 0);
  if (!lookup.destination) {
    return NULL;
  }
  this->mutex->lock(this->mutex);
  found = this->sas->get(this->sas, &lookup);
  if (found) {
    destination = found->destination->clone(found->destination);
  }
  this->mutex->unlock(this->mutex);
  lookup.destination->destroy(lookup.destination);
  return destination;
}

static void hook_expire(void* user, const struct simplon_sa_expire* event) {
  private_kernel_simplon_t* this = user;
  host_t* destination = destination_of(this, &event->id);

  if (destination) { /* else of an earlier session, or deleted meanwhile */
    DBG2(DBG_KNL, "%s expiry of ESP SA %.8x to %H", event->hard ? "hard" : "soft", event->id.spi, destination);
    charon->kernel->expire(charon->kernel, event->id.protocol, htonl(event->id.spi), destination, event->hard != 0);
    destination->destroy(destination);
  }
}

static void hook_mapping(void* user, const struct simplon_sa_mapping* event) {
  private_kernel_simplon_t* this = user;
  host_t* destination = destination_of(this, &event->id);
  host_t* peer = host_from(&event->new_source, event->new_port);

  if (destination && peer) {
    DBG1(DBG_KNL, "the peer's NAT mapping of ESP SA %.8x is now %#H", event->id.spi, peer);
    charon->kernel->mapping(charon->kernel, event->id.protocol, htonl(event->id.spi), destination, peer);
  }
  DESTROY_IF(destination);
  DESTROY_IF(peer);
}

/* Never added again: an AES-GCM sequence number that starts again under the same key repeats a nonce. */
static void hook_lost(void* user) {
  private_kernel_simplon_t* this = user;
  linked_list_t* all = linked_list_create();
  enumerator_t* enumerator;
  sa_t* sa;

  this->mutex->lock(this->mutex);
  enumerator = this->sas->create_enumerator(this->sas);
  while (enumerator->enumerate(enumerator, NULL, &sa)) {
    all->insert_last(all, sa_create(sa->spi, sa->protocol, sa->destination));
  }
  enumerator->destroy(enumerator);
  this->mutex->unlock(this->mutex);

  while (all->remove_first(all, (void**)&sa) == SUCCESS) {
    charon->kernel->expire(charon->kernel, sa->protocol, sa->spi, sa->destination, TRUE);
    sa_destroy(sa);
  }
  all->destroy(all);
}

static void* run_client(private_kernel_simplon_t* this) {
  sa_client_run(this->client);
  return NULL;
}

/*
 * A job, because charon drops its capabilities after loading plugins and capabilities belong to threads: a
 * thread started by a plugin's constructor would keep them all.
 */
static job_requeue_t start_thread(private_kernel_simplon_t* this) {
  this->thread = thread_create((thread_main_t)run_client, this);
  if (!this->thread) {
    DBG1(DBG_KNL, "kernel-simplon: cannot start a thread, no tunnel will come up");
  }
  return JOB_REQUEUE_NONE;
}

/* --- kernel_ipsec_t --- */

METHOD(kernel_ipsec_t, get_features, kernel_feature_t, private_kernel_simplon_t* this) {
  return KERNEL_POLICY_SPI | KERNEL_NO_POLICY_UPDATES;
}

METHOD(kernel_ipsec_t, get_spi, status_t, private_kernel_simplon_t* this, host_t* src, host_t* dst, uint8_t protocol,
       uint32_t* spi) {
  uint64_t value = 0;
  int status;

  if (protocol != IPPROTO_ESP) {
    DBG1(DBG_KNL, "no SPI for IP protocol %u: only ESP (50) is supported, not AH", protocol);
    return NOT_SUPPORTED;
  }
  status = sa_client_request(this->client, SIMPLON_SA_ALLOC_SPI, NULL, 0, &value);
  if (status != SIMPLON_SA_OK) {
    DBG1(DBG_KNL, "no SPI: %s", reason(status));
    return as_charon(status);
  }
  if (value < KERNEL_SPI_MIN || value > KERNEL_SPI_MAX) {
    DBG1(DBG_KNL, "no SPI: the forwarder answered 0x%llx, which is outside our range", (unsigned long long)value);
    return FAILED;
  }
  *spi = htonl((uint32_t)value);
  return SUCCESS;
}

METHOD(kernel_ipsec_t, get_cpi, status_t, private_kernel_simplon_t* this, host_t* src, host_t* dst, uint16_t* cpi) {
  return NOT_SUPPORTED; /* charon then says "IPComp disabled" and goes on without */
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

METHOD(kernel_ipsec_t, add_sa, status_t, private_kernel_simplon_t* this, kernel_ipsec_sa_id_t* id,
       kernel_ipsec_add_sa_t* data) {
  const char* direction = data->inbound ? "inbound" : "outbound";
  struct simplon_sa_add add;
  sa_t *sa, *old;
  int status;

  if (!supported(id, data)) {
    return NOT_SUPPORTED;
  }
  memset(&add, 0, sizeof(add));
  put_id(&add.id, id->dst, id->spi, id->proto);
  put_host(&add.source, id->src);
  add.if_id = id->if_id;
  add.reqid = data->reqid;
  add.encryption = data->enc_alg;
  add.integrity = data->int_alg;
  add.encryption_key_length = put_key(add.encryption_key, data->enc_key);
  add.integrity_key_length = put_key(add.integrity_key, data->int_key);
  add.replay_window = data->replay_window;
  add.mode = MODE_TUNNEL;
  add.inbound = data->inbound;
  add.esn = data->esn;
  add.encap = data->encap;
  add.source_port = id->src->get_port(id->src);
  add.destination_port = id->dst->get_port(id->dst);
  add.copy_df = data->copy_df;
  add.copy_ecn = data->copy_ecn;
  add.copy_dscp =
      data->copy_dscp == DSCP_COPY_YES || data->copy_dscp == (data->inbound ? DSCP_COPY_IN_ONLY : DSCP_COPY_OUT_ONLY);
  if (data->lifetime) {
    /* rekey is randomized already, jitter is only told (kernel-netlink reads it so too) */
    add.limits.soft_seconds = data->lifetime->time.rekey;
    add.limits.hard_seconds = data->lifetime->time.life;
    add.limits.soft_bytes = data->lifetime->bytes.rekey;
    add.limits.hard_bytes = data->lifetime->bytes.life;
    add.limits.soft_packets = data->lifetime->packets.rekey;
    add.limits.hard_packets = data->lifetime->packets.life;
  }
  if (!put_selectors(add.source_selector, &add.source_selectors, data->src_ts) ||
      !put_selectors(add.destination_selector, &add.destination_selectors, data->dst_ts)) {
    memwipe(&add, sizeof(add));
    DBG1(DBG_KNL, "%s SA %.8x refused: more than %u traffic selectors", direction, add.id.spi,
         SIMPLON_SA_MAX_SELECTORS);
    return NOT_SUPPORTED;
  }
  status = sa_client_request(this->client, SIMPLON_SA_ADD, &add, sizeof(add), NULL);
  memwipe(&add, sizeof(add));
  if (status != SIMPLON_SA_OK) {
    DBG1(DBG_KNL, "%s SA %.8x (%N, %N) refused: %s", direction, ntohl(id->spi), encryption_algorithm_names,
         data->enc_alg, integrity_algorithm_names, data->int_alg, reason(status));
    return as_charon(status);
  }
  sa = sa_create(id->spi, id->proto, id->dst);
  this->mutex->lock(this->mutex);
  old = this->sas->put(this->sas, sa, sa);
  this->mutex->unlock(this->mutex);
  sa_destroy(old);
  return SUCCESS;
}

static void forget(private_kernel_simplon_t* this, kernel_ipsec_sa_id_t* id) {
  sa_t *found, lookup = {.spi = id->spi, .protocol = id->proto, .destination = id->dst};

  this->mutex->lock(this->mutex);
  found = this->sas->remove(this->sas, &lookup);
  this->mutex->unlock(this->mutex);
  sa_destroy(found);
}

METHOD(kernel_ipsec_t, update_sa, status_t, private_kernel_simplon_t* this, kernel_ipsec_sa_id_t* id,
       kernel_ipsec_update_sa_t* data) {
  struct simplon_sa_update update;
  sa_t *sa, *old;
  int status;

  memset(&update, 0, sizeof(update));
  put_id(&update.id, id->dst, id->spi, id->proto);
  put_host(&update.new_source, data->new_src);
  put_host(&update.new_destination, data->new_dst);
  update.new_source_port = data->new_src->get_port(data->new_src);
  update.new_destination_port = data->new_dst->get_port(data->new_dst);
  update.new_encap = data->new_encap;
  status = sa_client_request(this->client, SIMPLON_SA_UPDATE, &update, sizeof(update), NULL);
  if (status != SIMPLON_SA_OK) {
    DBG1(DBG_KNL, "SA %.8x keeps its addresses: %s", ntohl(id->spi), reason(status));
    return as_charon(status);
  }
  forget(this, id);
  sa = sa_create(id->spi, id->proto, data->new_dst);
  this->mutex->lock(this->mutex);
  old = this->sas->put(this->sas, sa, sa);
  this->mutex->unlock(this->mutex);
  sa_destroy(old);
  return SUCCESS;
}

METHOD(kernel_ipsec_t, query_sa, status_t, private_kernel_simplon_t* this, kernel_ipsec_sa_id_t* id,
       kernel_ipsec_query_sa_t* data, uint64_t* bytes, uint64_t* packets, time_t* time) {
  struct simplon_sa_usage usage;
  struct simplon_sa_id which;
  int status;

  put_id(&which, id->dst, id->spi, id->proto);
  status = sa_client_query(this->client, &which, &usage);
  if (status != SIMPLON_SA_OK) {
    return as_charon(status);
  }
  if (bytes) {
    *bytes = usage.bytes;
  }
  if (packets) {
    *packets = usage.packets;
  }
  if (time) {
    *time = (time_t)usage.last_use; /* time_monotonic() is CLOCK_MONOTONIC too */
  }
  return SUCCESS;
}

METHOD(kernel_ipsec_t, del_sa, status_t, private_kernel_simplon_t* this, kernel_ipsec_sa_id_t* id,
       kernel_ipsec_del_sa_t* data) {
  struct simplon_sa_id which;
  int status;

  forget(this, id);
  put_id(&which, id->dst, id->spi, id->proto);
  status = sa_client_delete(this->client, SIMPLON_SA_DELETE, &which, sizeof(which));
  if (status != SIMPLON_SA_OK && status != SIMPLON_SA_NOT_FOUND) {
    DBG1(DBG_KNL, "SA %.8x not deleted: %s", ntohl(id->spi), reason(status));
    return FAILED;
  }
  return SUCCESS;
}

METHOD(kernel_ipsec_t, flush_sas, status_t, private_kernel_simplon_t* this) { return NOT_SUPPORTED; }

/* False for what is not a policy of an SA of ours, with a line that says why. */
static bool put_policy(struct simplon_sa_policy* to, kernel_ipsec_policy_id_t* id, kernel_ipsec_manage_policy_t* data) {
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

METHOD(kernel_ipsec_t, add_policy, status_t, private_kernel_simplon_t* this, kernel_ipsec_policy_id_t* id,
       kernel_ipsec_manage_policy_t* data) {
  struct simplon_sa_policy policy;
  int status;

  if (!put_policy(&policy, id, data)) {
    return NOT_SUPPORTED;
  }
  status = sa_client_request(this->client, SIMPLON_SA_ADD_POLICY, &policy, sizeof(policy), NULL);
  if (status != SIMPLON_SA_OK) {
    DBG1(DBG_KNL, "policy %R === %R of SA %.8x refused: %s", id->src_ts, id->dst_ts, policy.spi, reason(status));
    return as_charon(status);
  }
  return SUCCESS;
}

METHOD(kernel_ipsec_t, query_policy, status_t, private_kernel_simplon_t* this, kernel_ipsec_policy_id_t* id,
       kernel_ipsec_query_policy_t* data, time_t* use_time) {
  return NOT_SUPPORTED; /* query_sa says when an SA was last used */
}

METHOD(kernel_ipsec_t, del_policy, status_t, private_kernel_simplon_t* this, kernel_ipsec_policy_id_t* id,
       kernel_ipsec_manage_policy_t* data) {
  struct simplon_sa_policy policy;
  int status;

  if (!put_policy(&policy, id, data)) {
    return NOT_SUPPORTED;
  }
  status = sa_client_delete(this->client, SIMPLON_SA_DELETE_POLICY, &policy, sizeof(policy));
  if (status != SIMPLON_SA_OK && status != SIMPLON_SA_NOT_FOUND) {
    DBG1(DBG_KNL, "policy %R === %R of SA %.8x not deleted: %s", id->src_ts, id->dst_ts, policy.spi, reason(status));
    return FAILED;
  }
  return SUCCESS;
}

METHOD(kernel_ipsec_t, flush_policies, status_t, private_kernel_simplon_t* this) { return NOT_SUPPORTED; }

METHOD(kernel_ipsec_t, bypass_socket, bool, private_kernel_simplon_t* this, int fd, int family) {
  return TRUE; /* IKE never passes the forwarder: its XDP program leaves it to the kernel */
}

METHOD(kernel_ipsec_t, enable_udp_decap, bool, private_kernel_simplon_t* this, int fd, int family, uint16_t port) {
  return TRUE; /* the XDP program takes ESP-in-UDP before this socket could */
}

METHOD(kernel_ipsec_t, kernel_destroy, void, private_kernel_simplon_t* this) {
  enumerator_t* enumerator;
  sa_t* sa;

  sa_client_stop(this->client);
  if (this->thread) {
    this->thread->join(this->thread);
  }
  sa_client_destroy(this->client);
  enumerator = this->sas->create_enumerator(this->sas);
  while (enumerator->enumerate(enumerator, NULL, &sa)) {
    sa_destroy(sa);
  }
  enumerator->destroy(enumerator);
  this->sas->destroy(this->sas);
  this->mutex->destroy(this->mutex);
  free(this);
}

static kernel_ipsec_t* kernel_simplon_create(void) {
  private_kernel_simplon_t* this;
  sa_client_hooks hooks = {.log = hook_log, .expire = hook_expire, .mapping = hook_mapping, .lost = hook_lost};
  const char* path;

  INIT(this,
       .public =
           {
               .get_features = _get_features,
               .get_spi = _get_spi,
               .get_cpi = _get_cpi,
               .add_sa = _add_sa,
               .update_sa = _update_sa,
               .query_sa = _query_sa,
               .del_sa = _del_sa,
               .flush_sas = _flush_sas,
               .add_policy = _add_policy,
               .query_policy = _query_policy,
               .del_policy = _del_policy,
               .flush_policies = _flush_policies,
               .bypass_socket = _bypass_socket,
               .enable_udp_decap = _enable_udp_decap,
               .destroy = _kernel_destroy,
           },
       .mutex = mutex_create(MUTEX_TYPE_DEFAULT), .sas = hashtable_create(sa_hash, sa_equals, 64), );

  path = lib->settings->get_str(lib->settings, "%s.plugins.kernel-simplon.socket", DEFAULT_SOCKET, lib->ns);
  hooks.user = this;
  this->client = sa_client_create(path, &hooks);
  if (!this->client) {
    DBG1(DBG_KNL, "kernel-simplon: cannot use socket path '%s' (%s; at most 107 characters)", path, strerror(errno));
    this->sas->destroy(this->sas);
    this->mutex->destroy(this->mutex);
    free(this);
    return NULL;
  }
  lib->processor->queue_job(lib->processor, (job_t*)callback_job_create_with_prio((callback_job_cb_t)start_thread, this,
                                                                                  NULL, NULL, JOB_PRIO_CRITICAL));
  return &this->public;
}

/* --- plugin_t --- */

METHOD(plugin_t, get_name, char*, private_plugin_t* this) { return "kernel-simplon"; }

METHOD(plugin_t, get_plugin_features, int, private_plugin_t* this, plugin_feature_t* features[]) {
  static plugin_feature_t provided[] = {
      PLUGIN_CALLBACK(kernel_ipsec_register, kernel_simplon_create),
      PLUGIN_PROVIDE(CUSTOM, "kernel-ipsec"),
  };
  *features = provided;
  return countof(provided);
}

METHOD(plugin_t, plugin_destroy, void, private_plugin_t* this) { free(this); }

__attribute__((visibility("default"))) plugin_t* kernel_simplon_plugin_create(void);

plugin_t* kernel_simplon_plugin_create(void) {
  private_plugin_t* this;

  INIT(this,
       .public = {
           .get_name = _get_name,
           .get_features = _get_plugin_features,
           .destroy = _plugin_destroy,
       }, );
  return &this->public;
}
