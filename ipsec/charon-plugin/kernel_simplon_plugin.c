/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * charon plugin kernel-simplon: simplon-forwarder in place of the kernel's IPsec.
 *
 * Each call of kernel_ipsec_t becomes a message of the SA protocol (sa_messages.h) and is handed to sa_client. Keys pass
 * through and are wiped; what is remembered of an SA is its destination and SPI, to translate events and to let charon
 * negotiate again what a restarted forwarder has lost.
 *
 *     charon worker threads --add_sa, add_policy...--> sa_client_request --> forwarder
 *     our thread  <--expire, mapping, lost-- sa_client_run <-- forwarder
 *        `--> charon->kernel->expire, ->mapping (they only queue a job)
 *
 * What looks wrong and is not: an outbound SA that is added is not yet used (KERNEL_POLICY_SPI: the outbound policy's
 * SPI activates it, which gives make before break); deletions of what was never added succeed (charon
 * deletes both SAs after a refused add_sa); policies are not updated when addresses change
 * (KERNEL_NO_POLICY_UPDATES: the forwarder finds the SA by SPI, not by address); a policy that got no answer is installed
 * (after a refusal charon, which has deleted the former SA already, would go on with one that is never used; sa_client sends it
 * again, and if the forwarder has lost the SA too, that expires); an SA may be deleted at two destinations (an update that got
 * no answer is none for charon, but the forwarder may have carried it out).
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
#include "ipsec/charon-plugin/sa_messages.h"
#include "ipsec/charon-plugin/watchdog.h"

#define DEFAULT_SOCKET "/run/simplon/sa.sock"

/* Chosen by us: between two hard expiries of an SA that the forwarder has lost. */
#define FIRST_PAUSE_S 2
#define LAST_PAUSE_S 64

typedef struct private_kernel_simplon_t private_kernel_simplon_t;
typedef struct private_plugin_t private_plugin_t;

struct private_kernel_simplon_t {
  kernel_ipsec_t public;
  sa_client* client;
  /* Runs sa_client_run; NULL until charon's own threads run (see start_thread). */
  thread_t* thread;
  mutex_t* mutex;
  /* Guarded by mutex: */
  hashtable_t* sas; /* sa_t by itself: SAs that the forwarder has from us */
  u_int losses;     /* how often a forwarder lost them all */
};

struct private_plugin_t {
  plugin_t public;
};

typedef struct sa_t {
  uint32_t spi; /* network order, as charon has it */
  uint8_t protocol;
  bool lost; /* the forwarder has it no more */
  host_t* destination;
  linked_list_t* doubts; /* host_t: destinations of updates that got no answer, one of which it may have instead; or NULL */
} sa_t;

/* What expire_lost does about one loss. */
typedef struct expiry_t {
  private_kernel_simplon_t* plugin;
  u_int losses;
  u_int pause_s;
  u_int since_s; /* it began */
} expiry_t;

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
    DESTROY_OFFSET_IF(sa->doubts, offsetof(host_t, destroy));
    free(sa);
  }
}

/* --- events --- */

static void hook_log(void* user, const char* message) { DBG1(DBG_KNL, "kernel-simplon: %s", message); }

static host_t* destination_of(private_kernel_simplon_t* this, const struct simplon_sa_id* id) {
  sa_t *found, lookup = {.spi = htonl(id->spi), .protocol = id->protocol};
  host_t* destination = NULL;

  lookup.destination = sa_message_host_from(&id->destination, 0);
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
  host_t* peer = sa_message_host_from(&event->new_source, event->new_port);

  if (destination && peer) {
    DBG1(DBG_KNL, "the peer's NAT mapping of ESP SA %.8x is now %#H", event->id.spi, peer);
    charon->kernel->mapping(charon->kernel, event->id.protocol, htonl(event->id.spi), destination, peer);
  }
  DESTROY_IF(destination);
  DESTROY_IF(peer);
}

/*
 * Raises the hard expiry of what is lost, until charon has deleted it: charon does not know a CHILD_SA that is being installed,
 * and ignores what is said of it. Each time later than before: it needs half a minute to delete one whose peer is silent.
 */
static job_requeue_t expire_lost(expiry_t* expiry) {
  private_kernel_simplon_t* this = expiry->plugin;
  const u_int pause_s = expiry->pause_s;
  linked_list_t* lost = linked_list_create();
  enumerator_t* enumerator;
  bool done;
  sa_t* sa;

  this->mutex->lock(this->mutex);
  done = this->losses != expiry->losses; /* another one began */
  enumerator = this->sas->create_enumerator(this->sas);
  while (!done && enumerator->enumerate(enumerator, NULL, &sa)) {
    if (sa->lost) {
      lost->insert_last(lost, sa_create(sa->spi, sa->protocol, sa->destination));
    }
  }
  enumerator->destroy(enumerator);
  this->mutex->unlock(this->mutex);

  /* One that is being added is remembered when its answer is there. */
  done = done || (lost->get_count(lost) == 0 && expiry->since_s * 1000 > SA_CLIENT_ANSWER_MS);
  while (lost->remove_first(lost, (void**)&sa) == SUCCESS) {
    charon->kernel->expire(charon->kernel, sa->protocol, sa->spi, sa->destination, TRUE);
    sa_destroy(sa);
  }
  lost->destroy(lost);
  if (done) {
    return JOB_REQUEUE_NONE;
  }
  expiry->since_s += pause_s;
  expiry->pause_s = min(2 * pause_s, LAST_PAUSE_S);
  return JOB_RESCHEDULE(pause_s);
}

/* Never added again: an AES-GCM sequence number that starts again under the same key repeats a nonce. */
static void hook_lost(void* user) {
  private_kernel_simplon_t* this = user;
  enumerator_t* enumerator;
  expiry_t* expiry;
  sa_t* sa;

  INIT(expiry, .plugin = this, .pause_s = FIRST_PAUSE_S, );
  this->mutex->lock(this->mutex);
  expiry->losses = ++this->losses;
  enumerator = this->sas->create_enumerator(this->sas);
  while (enumerator->enumerate(enumerator, NULL, &sa)) {
    sa->lost = TRUE;
  }
  enumerator->destroy(enumerator);
  this->mutex->unlock(this->mutex);
  lib->processor->queue_job(lib->processor,
                            (job_t*)callback_job_create((callback_job_cb_t)expire_lost, expiry, free, NULL));
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
    DBG1(DBG_KNL, "no SPI: %s", sa_message_reason(status));
    return sa_message_status(status);
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

METHOD(kernel_ipsec_t, add_sa, status_t, private_kernel_simplon_t* this, kernel_ipsec_sa_id_t* id,
       kernel_ipsec_add_sa_t* data) {
  const char* direction = data->inbound ? "inbound" : "outbound";
  struct simplon_sa_add add;
  sa_t *sa, *old;
  u_int losses;
  int status;

  if (!sa_message_add(&add, id, data)) {
    return NOT_SUPPORTED;
  }
  this->mutex->lock(this->mutex);
  losses = this->losses;
  this->mutex->unlock(this->mutex);
  status = sa_client_request(this->client, SIMPLON_SA_ADD, &add, sizeof(add), NULL);
  memwipe(&add, sizeof(add));
  if (status != SIMPLON_SA_OK) {
    DBG1(DBG_KNL, "%s SA %.8x (%N, %N) refused: %s", direction, ntohl(id->spi), encryption_algorithm_names,
         data->enc_alg, integrity_algorithm_names, data->int_alg, sa_message_reason(status));
    return sa_message_status(status);
  }
  sa = sa_create(id->spi, id->proto, id->dst);
  this->mutex->lock(this->mutex);
  sa->lost = losses != this->losses; /* then nobody knows whether this forwarder has it or the one before */
  old = this->sas->put(this->sas, sa, sa);
  this->mutex->unlock(this->mutex);
  sa_destroy(old);
  return SUCCESS;
}

static void doubt(private_kernel_simplon_t* this, kernel_ipsec_sa_id_t* id, host_t* destination) {
  sa_t *found, lookup = {.spi = id->spi, .protocol = id->proto, .destination = id->dst};

  this->mutex->lock(this->mutex);
  found = this->sas->get(this->sas, &lookup);
  if (found) {
    if (!found->doubts) {
      found->doubts = linked_list_create();
    }
    found->doubts->insert_last(found->doubts, destination->clone(destination));
  }
  this->mutex->unlock(this->mutex);
}

METHOD(kernel_ipsec_t, update_sa, status_t, private_kernel_simplon_t* this, kernel_ipsec_sa_id_t* id,
       kernel_ipsec_update_sa_t* data) {
  struct simplon_sa_update update;
  sa_t *sa, *old, *same, lookup = {.spi = id->spi, .protocol = id->proto, .destination = id->dst};
  int status;

  memset(&update, 0, sizeof(update));
  sa_message_id(&update.id, id->dst, id->spi, id->proto);
  sa_message_host(&update.new_source, data->new_src);
  sa_message_host(&update.new_destination, data->new_dst);
  update.new_source_port = data->new_src->get_port(data->new_src);
  update.new_destination_port = data->new_dst->get_port(data->new_dst);
  update.new_encap = data->new_encap;
  status = sa_client_request(this->client, SIMPLON_SA_UPDATE, &update, sizeof(update), NULL);
  if (status != SIMPLON_SA_OK) {
    DBG1(DBG_KNL, "SA %.8x keeps its addresses and is rekeyed: %s", ntohl(id->spi), sa_message_reason(status));
    if (status == SA_CLIENT_UNAVAILABLE && !id->dst->ip_equals(id->dst, data->new_dst)) {
      doubt(this, id, data->new_dst); /* the forwarder may have moved it, and charon will delete it where it was */
    }
    return NOT_SUPPORTED; /* after any other failure charon would take the new addresses for the SA's */
  }
  sa = sa_create(id->spi, id->proto, data->new_dst);
  this->mutex->lock(this->mutex);
  old = this->sas->remove(this->sas, &lookup);
  sa->lost = old && old->lost;
  same = this->sas->put(this->sas, sa, sa);
  this->mutex->unlock(this->mutex);
  sa_destroy(old);
  sa_destroy(same);
  return SUCCESS;
}

METHOD(kernel_ipsec_t, query_sa, status_t, private_kernel_simplon_t* this, kernel_ipsec_sa_id_t* id,
       kernel_ipsec_query_sa_t* data, uint64_t* bytes, uint64_t* packets, time_t* time) {
  struct simplon_sa_usage usage;
  struct simplon_sa_id which;
  int status;

  sa_message_id(&which, id->dst, id->spi, id->proto);
  status = sa_client_query(this->client, &which, &usage);
  if (status != SIMPLON_SA_OK) {
    return sa_message_status(status);
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

/* From wherever else the forwarder may have the SA, unless another one has that place. */
static void delete_doubts(private_kernel_simplon_t* this, sa_t* sa) {
  struct simplon_sa_id which;
  sa_t lookup = {.spi = sa->spi, .protocol = sa->protocol};
  bool taken;

  while (sa->doubts && sa->doubts->remove_first(sa->doubts, (void**)&lookup.destination) == SUCCESS) {
    this->mutex->lock(this->mutex);
    taken = this->sas->get(this->sas, &lookup) != NULL;
    this->mutex->unlock(this->mutex);
    if (!taken) {
      sa_message_id(&which, lookup.destination, sa->spi, sa->protocol);
      sa_client_deliver(this->client, SIMPLON_SA_DELETE, &which, sizeof(which));
    }
    lookup.destination->destroy(lookup.destination);
  }
}

METHOD(kernel_ipsec_t, del_sa, status_t, private_kernel_simplon_t* this, kernel_ipsec_sa_id_t* id,
       kernel_ipsec_del_sa_t* data) {
  struct simplon_sa_id which;
  sa_t *found, lookup = {.spi = id->spi, .protocol = id->proto, .destination = id->dst};
  int status;

  this->mutex->lock(this->mutex);
  found = this->sas->remove(this->sas, &lookup);
  this->mutex->unlock(this->mutex);
  if (found) {
    delete_doubts(this, found);
    sa_destroy(found);
  }
  sa_message_id(&which, id->dst, id->spi, id->proto);
  status = sa_client_deliver(this->client, SIMPLON_SA_DELETE, &which, sizeof(which));
  if (status != SIMPLON_SA_OK && status != SIMPLON_SA_NOT_FOUND) {
    DBG1(DBG_KNL, "SA %.8x not deleted: %s", ntohl(id->spi), sa_message_reason(status));
    return FAILED;
  }
  return SUCCESS;
}

METHOD(kernel_ipsec_t, flush_sas, status_t, private_kernel_simplon_t* this) { return NOT_SUPPORTED; }

METHOD(kernel_ipsec_t, add_policy, status_t, private_kernel_simplon_t* this, kernel_ipsec_policy_id_t* id,
       kernel_ipsec_manage_policy_t* data) {
  struct simplon_sa_policy policy;
  int status;

  if (!sa_message_policy(&policy, id, data)) {
    return NOT_SUPPORTED;
  }
  status = sa_client_deliver(this->client, SIMPLON_SA_ADD_POLICY, &policy, sizeof(policy));
  if (status == SA_CLIENT_UNAVAILABLE) {
    DBG1(DBG_KNL, "policy %R === %R of SA %.8x follows later: %s", id->src_ts, id->dst_ts, policy.spi,
         sa_message_reason(status));
    return SUCCESS;
  }
  if (status != SIMPLON_SA_OK) {
    DBG1(DBG_KNL, "policy %R === %R of SA %.8x refused: %s", id->src_ts, id->dst_ts, policy.spi,
         sa_message_reason(status));
    return sa_message_status(status);
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

  if (!sa_message_policy(&policy, id, data)) {
    return NOT_SUPPORTED;
  }
  status = sa_client_deliver(this->client, SIMPLON_SA_DELETE_POLICY, &policy, sizeof(policy));
  if (status != SIMPLON_SA_OK && status != SIMPLON_SA_NOT_FOUND) {
    DBG1(DBG_KNL, "policy %R === %R of SA %.8x not deleted: %s", id->src_ts, id->dst_ts, policy.spi,
         sa_message_reason(status));
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
  watchdog_start();
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
