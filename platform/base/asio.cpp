// SPDX-License-Identifier: GPL-2.0-or-later
// The one translation unit that compiles Boost.Asio and Boost.Beast (separate compilation).
#include <utility>  // before Asio: Boost 1.74 uses std::exchange without it under C++20

#include <boost/asio/impl/src.hpp>
#include <boost/beast/src.hpp>
