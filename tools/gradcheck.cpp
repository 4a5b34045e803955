// clipcap gradcheck
#include <algorithm>
#include <cstdio>
#include <memory>

#include "clipcap/training/gradcheck_suite.h"
#include "tensor/check.h"
#include "tools/command.h"

namespace clipcap::tools {

void add_gradcheck(CLI::App& app, Action& chosen) {
  auto names = std::make_shared<std::vector<std::string>>();
  CLI::App* command =
      app.add_subcommand("gradcheck", "Check every op's and module's backward against finite differences");
  command->add_option("op", *names, "only these");
  command->footer("Example: clipcap gradcheck attention lstm");
  command->callback([names, &chosen] {
    chosen = [names] {
      for (const std::string& name : *names) {
        const bool known = std::any_of(gradcheck_cases().begin(), gradcheck_cases().end(),
                                       [&](const GradcheckCase& c) { return c.name.starts_with(name); });
        CHECK_INPUT(known, "gradcheck: no op or module \"", name, "\"");
      }
      int failed = 0;
      for (const GradcheckCase& c : gradcheck_cases()) {
        const bool wanted =
            names->empty() || std::any_of(names->begin(), names->end(),
                                          [&](const std::string& name) { return c.name.starts_with(name); });
        if (!wanted) continue;
        const GradcheckResult result = c.run();
        const bool good = result.worst < kGradcheckLimit && result.elements > 0;
        std::printf("%-28s %s  worst error %.2e over %lld elements\n", c.name.c_str(), good ? "ok  " : "FAIL",
                    result.worst, static_cast<long long>(result.elements));
        if (!good) std::printf("    %s\n", result.place.c_str());
        failed += good ? 0 : 1;
      }
      return failed == 0 ? 0 : 1;
    };
  });
}

}  // namespace clipcap::tools
