-- SPDX-License-Identifier: BSD-2-Clause
-- busted output handler: a line for each spec file with its count, each failure in full as
-- it happens, why tests were skipped, and "N passed, N failed, N skipped" as the last line.

return function()
  local busted = require("busted")
  local handler = require("busted.outputHandlers.base")()
  local current, started, counts = nil, nil, nil
  local total = { passed = 0, failed = 0, skipped = 0 }
  local reasons, order = {}, {}

  local function say(format, ...)
    io.write(format:format(...), "\n")
    io.flush()
  end

  local function close_file()
    if current then
      say("%-28s %4d passed%s%s  (%.1f s)", current, counts.passed,
        counts.failed > 0 and (", %d FAILED"):format(counts.failed) or "",
        counts.skipped > 0 and (", %d skipped"):format(counts.skipped) or "",
        busted.gettime() - started)
    end
    current = nil
  end

  local function count(what)
    total[what] = total[what] + 1
    if counts then
      counts[what] = counts[what] + 1
    end
  end

  local function text(message)
    return type(message) == "string" and message or require("pl.pretty").write(message)
  end

  local function failure(element, _, message, trace)
    local where = element.trace or trace
    say("FAILED %s", handler.getFullName(element))
    if where and where.short_src then
      say("  at %s:%d", where.short_src, where.currentline)
    end
    say("  %s", (text(message):gsub("\n", "\n  ")))
    if element.descriptor ~= "it" then
      count("failed") -- a describe or a file that raised is no test, but must not pass
    end
    return nil, true
  end

  local function file_start(file)
    current, started, counts = file.name:match("[^/]*$"), busted.gettime(), { passed = 0, failed = 0, skipped = 0 }
    return nil, true
  end

  local function test_end(element, _, status)
    local what = status == "success" and "passed" or status == "pending" and "skipped" or "failed"
    count(what)
    if what == "skipped" then
      local entry = handler.pendings[#handler.pendings]
      local reason = entry and text(entry.message or "no reason given") or "no reason given"
      if not reasons[reason] then
        reasons[reason] = {}
        order[#order + 1] = reason
      end
      table.insert(reasons[reason], handler.getFullName(element))
    end
    return nil, true
  end

  local function suite_end()
    close_file()
    for _, reason in ipairs(order) do
      local names = reasons[reason]
      say("skipped %d: %s%s", #names, reason, #names <= 3 and " (" .. table.concat(names, "; ") .. ")" or "")
    end
    say("%d passed, %d failed, %d skipped", total.passed, total.failed, total.skipped)
    return nil, true
  end

  busted.subscribe({ "file", "start" }, file_start)
  busted.subscribe({ "file", "end" }, function() close_file() return nil, true end)
  busted.subscribe({ "test", "end" }, test_end)
  busted.subscribe({ "suite", "end" }, suite_end)
  busted.subscribe({ "failure" }, failure)
  busted.subscribe({ "error" }, failure)
  return handler
end
