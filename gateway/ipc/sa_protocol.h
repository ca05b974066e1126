/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The SA protocol: the charon plugin kernel-simplon (client) hands security associations to
 * simplon-forwarder (server). C, because the plugin is; nothing of strongSwan appears here.
 *
 * Who connects   The plugin connects to RUN_DIR/sa.sock (SOCK_SEQPACKET): one message per packet, at most
 *                SIMPLON_SA_MAX_MESSAGE bytes. One connection at a time; a new one replaces the old one.
 * Layout         A header, then the fixed body of its type. Integers are in host byte order (one machine);
 *                addresses are bytes in network order; an SPI is a host-order integer.
 * Requests       Each is answered by SIMPLON_SA_REPLY with the same `sequence`, in order. All but HELLO, ALLOC_SPI and
 *                UPDATE are idempotent: deleting what is not there succeeds, adding what is there unchanged succeeds.
 * Events         The server sends SIMPLON_SA_EXPIRE and SIMPLON_SA_MAPPING with sequence 0, at any time after HELLO.
 * Sessions       `session` is random per life of charon. A HELLO with another session makes the SAs of earlier
 *                sessions stale: they go on forwarding until their tunnel's outbound SA is replaced (10 s grace) or they
 *                expire, so that a restart of charon loses no packet.
 *                `instance` in the reply is random; a forwarder that took over the SAs of the one before it (a planned
 *                restart) keeps it. When it changed, the forwarder has lost
 *                the SAs: the plugin must never add them again (an AES-GCM sequence number that restarts under the
 *                same key repeats a nonce); it raises a hard expiry for each, and charon negotiates new ones.
 * Activation     ADD_SA of an outbound SA does not use it. The outbound policy's SPI selects the SA of its
 *                tunnel (newest policy of the best priority); deleting the policy falls back to the next.
 * Expiry         charon does not time SAs: the server raises soft and hard expiry for time, bytes and packets.
 */
#ifndef SIMPLON_GATEWAY_IPC_SA_PROTOCOL_H
#define SIMPLON_GATEWAY_IPC_SA_PROTOCOL_H

#include <stdint.h>

#define SIMPLON_SA_MAGIC 0x53504c53u /* "SPLS" */
#define SIMPLON_SA_VERSION 1u
#define SIMPLON_SA_MAX_MESSAGE 4096u
#define SIMPLON_SA_MAX_KEY 64u
#define SIMPLON_SA_MAX_SELECTORS 16u

enum simplon_sa_type {
  SIMPLON_SA_HELLO = 1,      /* body: simplon_sa_hello; reply.value: instance */
  SIMPLON_SA_ALLOC_SPI = 2,  /* no body; reply.value: an SPI in 0xc0000000..0xcfffffff not in use */
  SIMPLON_SA_ADD = 3,        /* body: simplon_sa_add */
  SIMPLON_SA_UPDATE = 4,     /* body: simplon_sa_update: new addresses or encapsulation */
  SIMPLON_SA_DELETE = 5,     /* body: simplon_sa_id */
  SIMPLON_SA_ADD_POLICY = 6, /* body: simplon_sa_policy */
  SIMPLON_SA_DELETE_POLICY = 7,
  SIMPLON_SA_QUERY = 8,      /* body: simplon_sa_id; answered by SIMPLON_SA_USAGE */
  SIMPLON_SA_REPLY = 64,     /* body: simplon_sa_reply */
  SIMPLON_SA_USAGE = 65,     /* body: simplon_sa_usage */
  SIMPLON_SA_EXPIRE = 128,   /* event, body: simplon_sa_expire */
  SIMPLON_SA_MAPPING = 129   /* event, body: simplon_sa_mapping: the peer's NAT changed its address or port */
};

enum simplon_sa_status {
  SIMPLON_SA_OK = 0,
  SIMPLON_SA_NOT_FOUND = 1,
  SIMPLON_SA_NOT_SUPPORTED = 2, /* algorithm, mode or protocol we do not forward */
  SIMPLON_SA_INVALID = 3,
  SIMPLON_SA_EXISTS = 4,        /* same SPI with another key */
  SIMPLON_SA_FULL = 5
};

struct simplon_sa_header {
  uint32_t magic;
  uint16_t version;
  uint16_t type;
  uint32_t length; /* header and body */
  uint32_t sequence;
};

struct simplon_sa_address {
  uint8_t family; /* 4 or 6 */
  uint8_t reserved[3];
  uint8_t bytes[16];
};

struct simplon_sa_selector { /* one address range, RFC 7296 section 3.13.1 */
  struct simplon_sa_address from;
  struct simplon_sa_address to;
  uint8_t protocol; /* 0: any */
  uint8_t reserved;
  uint16_t port_from;
  uint16_t port_to;
  uint16_t reserved2;
};

struct simplon_sa_hello {
  uint64_t session;
  char software[32]; /* NUL-terminated */
};

struct simplon_sa_id {
  struct simplon_sa_address destination;
  uint32_t spi;
  uint8_t protocol; /* 50: ESP */
  uint8_t reserved[3];
};

struct simplon_sa_limits { /* 0: none */
  uint64_t soft_seconds, hard_seconds;
  uint64_t soft_bytes, hard_bytes;
  uint64_t soft_packets, hard_packets;
};

struct simplon_sa_add {
  struct simplon_sa_id id;
  struct simplon_sa_address source;
  uint32_t if_id; /* tunnel id */
  uint32_t reqid;
  /* IKEv2 transform ids (RFC 7296 section 3.3.2): 20 AES-GCM-16, 28 ChaCha20-Poly1305, 12 AES-CBC, 11 none */
  uint16_t encryption;
  uint16_t integrity; /* 12, 13, 14: HMAC-SHA2-256-128, -384-192, -512-256; 1024: none (AEAD) */
  uint16_t encryption_key_length; /* bytes, with the salt: 36 for AES-256-GCM (RFC 4106 section 8.1) */
  uint16_t integrity_key_length;  /* 32, 48, 64 (RFC 4868 section 2.1.1); 0 for an AEAD */
  uint8_t encryption_key[SIMPLON_SA_MAX_KEY];
  uint8_t integrity_key[SIMPLON_SA_MAX_KEY];
  uint32_t replay_window; /* packets; 0: off */
  uint8_t mode;           /* 2: tunnel */
  uint8_t inbound;
  uint8_t esn;
  uint8_t encap; /* ESP in UDP (RFC 3948) */
  uint16_t source_port, destination_port; /* UDP, when encap */
  uint8_t copy_df, copy_ecn, copy_dscp, reserved;
  struct simplon_sa_limits limits;
  uint32_t source_selectors, destination_selectors; /* how many of the arrays below are used */
  struct simplon_sa_selector source_selector[SIMPLON_SA_MAX_SELECTORS];
  struct simplon_sa_selector destination_selector[SIMPLON_SA_MAX_SELECTORS];
};

struct simplon_sa_update {
  struct simplon_sa_id id; /* with the destination before the change */
  struct simplon_sa_address new_source, new_destination;
  uint16_t new_source_port, new_destination_port;
  uint8_t new_encap;
  uint8_t reserved[3];
};

enum simplon_sa_direction { SIMPLON_SA_IN = 1, SIMPLON_SA_OUT = 2, SIMPLON_SA_FWD = 3 };

struct simplon_sa_policy {
  uint8_t direction;
  uint8_t reserved[3];
  uint32_t if_id;
  uint32_t reqid;
  uint32_t priority; /* lower is better: 1 installed, 2 routed (trap) */
  uint32_t spi;      /* 0 for a trap */
  struct simplon_sa_selector source, destination;
};

struct simplon_sa_reply {
  uint32_t status; /* simplon_sa_status */
  uint32_t reserved;
  uint64_t value;
};

struct simplon_sa_usage {
  uint32_t status;
  uint32_t reserved;
  uint64_t bytes, packets;
  uint64_t last_use; /* CLOCK_MONOTONIC seconds; 0: never */
};

struct simplon_sa_expire {
  struct simplon_sa_id id;
  uint8_t hard;
  uint8_t reserved[3];
};

struct simplon_sa_mapping {
  struct simplon_sa_id id;
  struct simplon_sa_address new_source;
  uint16_t new_port;
  uint16_t reserved;
};

#endif
