/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One mutex guards everything but the socket's receiving side, which belongs to the thread in sa_client_run. A request
 * is a `waiter` on its caller's stack, linked until answered or given up; the answer finds it by its sequence number,
 * so that a late answer to a request given up hurts nobody.
 *
 * A request that got no answer breaks the connection on purpose: then both ends agree, at the next HELLO, on what was
 * delivered, and deletions and policies owed are repeated (they are idempotent; additions of SAs are not repeated, charon has
 * been told that they failed and deletes them itself).
 */
#define _GNU_SOURCE
#include "ipsec/charon-plugin/sa_client.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* Chosen by us: fast enough that a restarted forwarder is found before a peer's first IKE retransmission. */
#define RECONNECT_FIRST_MS 10
#define RECONNECT_LAST_MS 1000

struct message {
  struct simplon_sa_header header;
  uint8_t body[SIMPLON_SA_MAX_MESSAGE - sizeof(struct simplon_sa_header)];
};

struct waiter {
  struct waiter* next;
  uint32_t sequence;
  uint16_t answer_type;
  bool answered;
  bool lost;
  union {
    struct simplon_sa_reply reply;
    struct simplon_sa_usage usage;
  } answer;
};

struct owed {
  struct owed* next;
  uint16_t type;
  size_t length;
  uint8_t body[];
};

struct sa_client {
  char path[sizeof(((struct sockaddr_un*)NULL)->sun_path)];
  sa_client_hooks hooks;
  uint64_t session;
  int wake; /* eventfd: readable once stopped */

  pthread_mutex_t mutex;
  pthread_cond_t changed; /* connection state or a waiter */
  int socket;             /* -1 while disconnected; closed only by the run thread */
  struct timespec grace;  /* while disconnected: requests wait for a connection until then, later ones fail at once */
  bool stopped;
  uint32_t sequence;
  struct waiter* waiters;
  struct owed* owed_first;
  struct owed** owed_last;

  /* of the run thread */
  uint64_t instance; /* 0: none seen yet */
  bool outage_logged;
};

static void say(sa_client* client, const char* format, ...) __attribute__((format(printf, 2, 3)));

static void say(sa_client* client, const char* format, ...) {
  char line[256];
  va_list arguments;

  va_start(arguments, format);
  vsnprintf(line, sizeof(line), format, arguments);
  va_end(arguments);
  client->hooks.log(client->hooks.user, line);
}

static struct timespec deadline_after_ms(long ms) {
  struct timespec at;

  clock_gettime(CLOCK_MONOTONIC, &at);
  at.tv_sec += ms / 1000;
  at.tv_nsec += (ms % 1000) * 1000000L;
  if (at.tv_nsec >= 1000000000L) {
    at.tv_sec++;
    at.tv_nsec -= 1000000000L;
  }
  return at;
}

/* Body size of what a server may send, or 0. */
static size_t incoming_body_size(uint16_t type) {
  switch (type) {
    case SIMPLON_SA_REPLY:
      return sizeof(struct simplon_sa_reply);
    case SIMPLON_SA_USAGE:
      return sizeof(struct simplon_sa_usage);
    case SIMPLON_SA_EXPIRE:
      return sizeof(struct simplon_sa_expire);
    case SIMPLON_SA_MAPPING:
      return sizeof(struct simplon_sa_mapping);
    default:
      return 0;
  }
}

static bool valid(const struct message* message, size_t received) {
  const size_t header = sizeof(struct simplon_sa_header);
  size_t body;

  if (received < header || message->header.magic != SIMPLON_SA_MAGIC || message->header.version != SIMPLON_SA_VERSION ||
      message->header.length != received) {
    return false;
  }
  body = incoming_body_size(message->header.type);
  return body != 0 && received == header + body;
}

static bool send_message(int fd, uint16_t type, uint32_t sequence, const void* body, size_t length) {
  struct message message;
  const size_t size = sizeof(message.header) + length;
  ssize_t sent;

  if (length > sizeof(message.body)) {
    return false;
  }
  message.header.magic = SIMPLON_SA_MAGIC;
  message.header.version = SIMPLON_SA_VERSION;
  message.header.type = type;
  message.header.length = (uint32_t)size;
  message.header.sequence = sequence;
  if (length != 0) {
    memcpy(message.body, body, length);
  }
  do {
    sent = send(fd, &message, size, MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  explicit_bzero(&message, size); /* it may have held keys */
  return sent == (ssize_t)size;
}

static uint32_t next_sequence(sa_client* client) {
  if (++client->sequence == 0) {
    client->sequence = 1; /* 0 is for events */
  }
  return client->sequence;
}

static void unlink_waiter(sa_client* client, const struct waiter* waiter) {
  struct waiter** link;

  for (link = &client->waiters; *link; link = &(*link)->next) {
    if (*link == waiter) {
      *link = waiter->next;
      return;
    }
  }
}

/* With the mutex held. False when there is no answer. */
static bool exchange(sa_client* client, struct waiter* waiter, uint16_t type, const void* body, size_t length) {
  struct timespec deadline;
  int waited = 0;

  while (client->socket < 0 && !client->stopped && waited != ETIMEDOUT) {
    waited = pthread_cond_timedwait(&client->changed, &client->mutex, &client->grace);
  }
  if (client->socket < 0 || client->stopped) {
    return false;
  }
  waited = 0;
  deadline = deadline_after_ms(SA_CLIENT_ANSWER_MS);
  waiter->sequence = next_sequence(client);
  waiter->next = client->waiters;
  client->waiters = waiter;
  if (send_message(client->socket, type, waiter->sequence, body, length)) {
    while (!waiter->answered && !waiter->lost && waited != ETIMEDOUT) {
      waited = pthread_cond_timedwait(&client->changed, &client->mutex, &deadline);
    }
  }
  if (!waiter->answered && !waiter->lost) {
    shutdown(client->socket, SHUT_RDWR); /* the run thread notices and connects again */
  }
  unlink_waiter(client, waiter);
  return waiter->answered;
}

int sa_client_request(sa_client* client, uint16_t type, const void* body, size_t length, uint64_t* value) {
  struct waiter waiter = {.answer_type = SIMPLON_SA_REPLY};
  bool answered;

  pthread_mutex_lock(&client->mutex);
  answered = exchange(client, &waiter, type, body, length);
  pthread_mutex_unlock(&client->mutex);
  if (!answered) {
    return SA_CLIENT_UNAVAILABLE;
  }
  if (value) {
    *value = waiter.answer.reply.value;
  }
  return (int)waiter.answer.reply.status;
}

int sa_client_query(sa_client* client, const struct simplon_sa_id* id, struct simplon_sa_usage* usage) {
  struct waiter waiter = {.answer_type = SIMPLON_SA_USAGE};
  bool answered;

  pthread_mutex_lock(&client->mutex);
  answered = exchange(client, &waiter, SIMPLON_SA_QUERY, id, sizeof(*id));
  pthread_mutex_unlock(&client->mutex);
  if (!answered) {
    return SA_CLIENT_UNAVAILABLE;
  }
  *usage = waiter.answer.usage;
  return (int)waiter.answer.usage.status;
}

int sa_client_deliver(sa_client* client, uint16_t type, const void* body, size_t length) {
  struct waiter waiter;
  struct owed* owed;
  bool answered;

  pthread_mutex_lock(&client->mutex);
  do { /* again if the next connection is open before we wake up: what is owed then is not sent on it */
    waiter = (struct waiter){.answer_type = SIMPLON_SA_REPLY};
    answered = exchange(client, &waiter, type, body, length);
  } while (waiter.lost && client->socket >= 0 && !client->stopped);
  if (!answered && !client->stopped) {
    owed = malloc(sizeof(*owed) + length);
    if (owed) {
      owed->next = NULL;
      owed->type = type;
      owed->length = length;
      memcpy(owed->body, body, length);
      *client->owed_last = owed;
      client->owed_last = &owed->next;
    }
  }
  pthread_mutex_unlock(&client->mutex);
  return answered ? (int)waiter.answer.reply.status : SA_CLIENT_UNAVAILABLE;
}

static void forget_owed(sa_client* client) {
  struct owed* next;

  while (client->owed_first) {
    next = client->owed_first->next;
    free(client->owed_first);
    client->owed_first = next;
  }
  client->owed_last = &client->owed_first;
}

/* Hands an answer to its waiter, an event to its hook. */
static void dispatch(sa_client* client, const struct message* message) {
  struct waiter* waiter;

  if (message->header.type == SIMPLON_SA_EXPIRE) {
    struct simplon_sa_expire event;
    memcpy(&event, message->body, sizeof(event));
    client->hooks.expire(client->hooks.user, &event);
    return;
  }
  if (message->header.type == SIMPLON_SA_MAPPING) {
    struct simplon_sa_mapping event;
    memcpy(&event, message->body, sizeof(event));
    client->hooks.mapping(client->hooks.user, &event);
    return;
  }
  pthread_mutex_lock(&client->mutex);
  for (waiter = client->waiters; waiter; waiter = waiter->next) {
    if (waiter->sequence != message->header.sequence) {
      continue;
    }
    /* A refused QUERY may be answered by a plain reply: its status is in the same place. */
    memcpy(&waiter->answer, message->body, incoming_body_size(message->header.type));
    if (message->header.type != waiter->answer_type) {
      const uint32_t status = waiter->answer.reply.status;
      memset(&waiter->answer, 0, sizeof(waiter->answer));
      waiter->answer.reply.status = status == SIMPLON_SA_OK ? SIMPLON_SA_INVALID : status;
    }
    waiter->answered = true;
    pthread_cond_broadcast(&client->changed);
    break;
  }
  pthread_mutex_unlock(&client->mutex);
}

enum received { RECEIVED, NOTHING_IN_TIME, BROKEN };

/* Waits for one message. `timeout_ms` -1: for ever, or until stopped. */
static enum received receive(sa_client* client, int fd, struct message* message, int timeout_ms) {
  struct pollfd polled[2] = {{.fd = fd, .events = POLLIN}, {.fd = client->wake, .events = POLLIN}};
  ssize_t size;
  int ready;

  do {
    ready = poll(polled, 2, timeout_ms);
  } while (ready < 0 && errno == EINTR);
  if (ready == 0) {
    return NOTHING_IN_TIME;
  }
  if (ready < 0 || polled[1].revents != 0) {
    return BROKEN;
  }
  do {
    size = recv(fd, message, sizeof(*message), MSG_TRUNC);
  } while (size < 0 && errno == EINTR);
  if (size <= 0) {
    return BROKEN;
  }
  if ((size_t)size > sizeof(*message) || !valid(message, (size_t)size)) {
    say(client, "broken message of %zd bytes from %s, connecting again", size, client->path);
    return BROKEN;
  }
  return RECEIVED;
}

/* A request by the run thread itself, before other threads may use the connection. */
static bool exchange_alone(sa_client* client, int fd, uint16_t type, const void* body, size_t length,
                           struct simplon_sa_reply* reply) {
  struct message message;
  uint32_t sequence;

  pthread_mutex_lock(&client->mutex);
  sequence = next_sequence(client);
  pthread_mutex_unlock(&client->mutex);
  if (!send_message(fd, type, sequence, body, length)) {
    return false;
  }
  while (receive(client, fd, &message, SA_CLIENT_TIMEOUT_MS) == RECEIVED) {
    if (message.header.type == SIMPLON_SA_REPLY && message.header.sequence == sequence) {
      memcpy(reply, message.body, sizeof(*reply));
      return true;
    }
    dispatch(client, &message);
  }
  return false;
}

static bool greet(sa_client* client, int fd, uint64_t* instance) {
  struct simplon_sa_hello hello = {.session = client->session, .software = "kernel-simplon"};
  struct simplon_sa_reply reply;

  if (!exchange_alone(client, fd, SIMPLON_SA_HELLO, &hello, sizeof(hello), &reply)) {
    return false;
  }
  if (reply.status != SIMPLON_SA_OK) {
    say(client, "the forwarder at %s refused our hello with status %u (is it of another version?)", client->path,
        reply.status);
    return false;
  }
  *instance = reply.value;
  return true;
}

/* Sends what is owed and, when nothing is left, opens the connection to other threads. */
static bool settle(sa_client* client, int fd) {
  struct simplon_sa_reply reply;
  struct owed* owed;

  for (;;) {
    pthread_mutex_lock(&client->mutex);
    owed = client->owed_first;
    if (!owed) {
      client->socket = fd;
      pthread_cond_broadcast(&client->changed);
      pthread_mutex_unlock(&client->mutex);
      return true;
    }
    client->owed_first = owed->next;
    if (!client->owed_first) {
      client->owed_last = &client->owed_first;
    }
    pthread_mutex_unlock(&client->mutex);
    if (!exchange_alone(client, fd, owed->type, owed->body, owed->length, &reply)) {
      pthread_mutex_lock(&client->mutex);
      owed->next = client->owed_first;
      if (!owed->next) {
        client->owed_last = &owed->next;
      }
      client->owed_first = owed;
      pthread_mutex_unlock(&client->mutex);
      return false;
    }
    free(owed);
  }
}

static int connect_once(const char* path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  const struct timeval timeout = {.tv_sec = SA_CLIENT_TIMEOUT_MS / 1000,
                                  .tv_usec = (SA_CLIENT_TIMEOUT_MS % 1000) * 1000};
  int saved;
  int fd;

  memcpy(address.sun_path, path, strlen(path) + 1);
  fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  if (fd < 0) {
    return -1;
  }
  if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout)) != 0 ||
      connect(fd, (const struct sockaddr*)&address, sizeof(address)) != 0) {
    saved = errno;
    close(fd);
    errno = saved;
    return -1;
  }
  return fd;
}

static void disconnect(sa_client* client, int fd) {
  struct waiter* waiter;

  pthread_mutex_lock(&client->mutex);
  if (client->socket >= 0) {
    client->socket = -1;
    client->grace = deadline_after_ms(SA_CLIENT_TIMEOUT_MS);
  }
  for (waiter = client->waiters; waiter; waiter = waiter->next) {
    if (!waiter->answered) {
      waiter->lost = true;
    }
  }
  pthread_cond_broadcast(&client->changed);
  pthread_mutex_unlock(&client->mutex);
  close(fd);
}

/* One connection from HELLO to its end. True if it got past HELLO. */
static bool serve(sa_client* client, int fd) {
  struct message message;
  uint64_t instance;
  bool lost;

  if (!greet(client, fd, &instance)) {
    return false;
  }
  lost = client->instance != 0 && client->instance != instance;
  client->instance = instance;
  if (lost) {
    say(client, "the forwarder was restarted and lost its SAs: all of ours are negotiated again");
    pthread_mutex_lock(&client->mutex);
    forget_owed(client);
    pthread_mutex_unlock(&client->mutex);
    client->hooks.lost(client->hooks.user);
  }
  if (!settle(client, fd)) {
    return false;
  }
  client->outage_logged = false;
  say(client, "connected to the forwarder at %s", client->path);
  while (receive(client, fd, &message, -1) == RECEIVED) {
    dispatch(client, &message);
  }
  return true;
}

static bool is_stopped(sa_client* client) {
  bool stopped;

  pthread_mutex_lock(&client->mutex);
  stopped = client->stopped;
  pthread_mutex_unlock(&client->mutex);
  return stopped;
}

void sa_client_run(sa_client* client) {
  struct pollfd wake = {.fd = client->wake, .events = POLLIN};
  int pause_ms = RECONNECT_FIRST_MS;
  bool served;
  int fd;

  while (!is_stopped(client)) {
    fd = connect_once(client->path);
    if (fd >= 0) {
      served = serve(client, fd);
      disconnect(client, fd);
      if (served) {
        pause_ms = RECONNECT_FIRST_MS;
        if (!is_stopped(client)) {
          say(client, "lost the connection to the forwarder at %s", client->path);
        }
      }
    } else if (!client->outage_logged) {
      client->outage_logged = true;
      say(client, "cannot connect to the forwarder at %s: %s (is simplon-forwarder running?)", client->path,
          strerror(errno));
    }
    poll(&wake, 1, pause_ms);
    pause_ms += pause_ms / 2;
    if (pause_ms > RECONNECT_LAST_MS) {
      pause_ms = RECONNECT_LAST_MS;
    }
  }
}

void sa_client_stop(sa_client* client) {
  const uint64_t one = 1;

  pthread_mutex_lock(&client->mutex);
  client->stopped = true;
  pthread_cond_broadcast(&client->changed);
  pthread_mutex_unlock(&client->mutex);
  if (write(client->wake, &one, sizeof(one)) != (ssize_t)sizeof(one)) {
    return; /* its counter is full: it is readable already */
  }
}

sa_client* sa_client_create(const char* path, const sa_client_hooks* hooks) {
  pthread_condattr_t attributes;
  sa_client* client;

  client = calloc(1, sizeof(*client));
  if (!client) {
    return NULL;
  }
  client->hooks = *hooks;
  client->socket = -1;
  client->grace = deadline_after_ms(SA_CLIENT_TIMEOUT_MS);
  client->owed_last = &client->owed_first;
  client->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (client->wake < 0 || strlen(path) >= sizeof(client->path) ||
      getrandom(&client->session, sizeof(client->session), 0) != (ssize_t)sizeof(client->session)) {
    if (client->wake >= 0) {
      close(client->wake);
    }
    free(client);
    return NULL;
  }
  memcpy(client->path, path, strlen(path) + 1);
  pthread_mutex_init(&client->mutex, NULL);
  pthread_condattr_init(&attributes);
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  pthread_cond_init(&client->changed, &attributes);
  pthread_condattr_destroy(&attributes);
  return client;
}

void sa_client_destroy(sa_client* client) {
  if (!client) {
    return;
  }
  forget_owed(client);
  pthread_cond_destroy(&client->changed);
  pthread_mutex_destroy(&client->mutex);
  close(client->wake);
  free(client);
}
