/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Stands in for strongSwan's generated config.h when its public headers are read. Only ME changes the layout of
 * structures (Debian builds with --enable-mediation); the others say what this platform has, as Debian's configure
 * finds it. check-abi compares the result with the installed libcharon.
 */
#ifndef SIMPLON_IPSEC_CHARON_PLUGIN_SIMPLON_CONFIG_H
#define SIMPLON_IPSEC_CHARON_PLUGIN_SIMPLON_CONFIG_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#define CONFIG_H_INCLUDED 1
#define VERSION "5.9.8"

#define ME 1
#define USE_IKEV1 1
#define USE_IKEV2 1

#define HAVE_STDBOOL_H 1
#define HAVE_ALLOCA_H 1
#define HAVE_SYS_PARAM_H 1
#define HAVE_INT128 1
#define HAVE_CLOCK_GETTIME 1
#define HAVE_CONDATTR_CLOCK_MONOTONIC 1
#define HAVE_EXPLICIT_BZERO 1
#define HAVE_MEMRCHR 1
#define HAVE_FMEMOPEN 1
#define HAVE_SIGWAITINFO 1
#define HAVE_CLOSEFROM 1
#define HAVE_GCC_SYNC_OPERATIONS 1
#define HAVE_PRINTF_SPECIFIER 1

#endif
