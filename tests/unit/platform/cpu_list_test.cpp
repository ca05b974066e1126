// SPDX-License-Identifier: GPL-2.0-or-later
#include "platform/sys/cpu_list.h"

#include <gmock/gmock.h>

namespace simplon::sys {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST(CpuList, ReadsNumbersAndRanges) {
  EXPECT_THAT(parse_cpu_list("").value(), IsEmpty());
  EXPECT_THAT(parse_cpu_list("7").value(), ElementsAre(7U));
  EXPECT_THAT(parse_cpu_list("2-5,8").value(), ElementsAre(2U, 3U, 4U, 5U, 8U));
  EXPECT_THAT(parse_cpu_list("8,2-2,0").value(), ElementsAre(8U, 2U, 0U)) << "in the order given";
}

TEST(CpuList, NamesWhatItCannotRead) {
  for (const char* text : {"x", "1,", ",1", "1,,2", "5-2", "-1", "1-", "1 2", "4096", "1-99999999999"}) {
    const auto cpus = parse_cpu_list(text);
    ASSERT_FALSE(cpus) << text;
    EXPECT_THAT(cpus.error().message(), HasSubstr(text));
  }
  EXPECT_THAT(parse_cpu_list("1-3,2").error().message(), HasSubstr("2 names a CPU twice"));
}

}  // namespace
}  // namespace simplon::sys
