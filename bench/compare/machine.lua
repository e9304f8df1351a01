-- SPDX-License-Identifier: BSD-2-Clause
-- The machine and the versions of the programs: what figures mean nothing without.
local shell = require("compare.shell")

local M = {}

local function first_line(path, pattern)
  local file = io.open(path)
  local found = nil
  for line in file and file:lines() or function() end do
    found = found or line:match(pattern)
  end
  if file then
    file:close()
  end
  return found
end

-- Debian's version of the package that a program came with.
local function package_version(package)
  return shell.try("dpkg-query -W -f '${Version}' " .. package .. " 2>/dev/null")
end

local rivals = {
  { "wireshark-common", "mergecap, capinfos, editcap" }, { "tshark", "tshark" }, { "tcpdump", "tcpdump" },
  { "libtrace-tools", "tracemerge" }, { "dnsjit", "dnsjit" }, { "isal", "igzip" }, { "gzip", "gzip" },
  { "zstd", "zstd" },
  { "coreutils", "dd" },
}

--- Kibibytes of memory that are free for use.
function M.available_kib()
  return tonumber(first_line("/proc/meminfo", "^MemAvailable:%s*(%d+)"))
end

--- What there is to say: a list of {what, value}.
-- @tparam string dir where the files are
function M.facts(dir)
  local memory = tonumber(first_line("/proc/meminfo", "^MemTotal:%s*(%d+)") or 0)
  local cores = shell.try("nproc") or "?"
  local list = {
    { "processor", ("%s, %s cores"):format(first_line("/proc/cpuinfo", "^model name%s*:%s*(.*)") or "?", cores) },
    { "memory", ("%.1f GB"):format(memory * 1024 / 1e9) },
    { "kernel", shell.try("uname -sr") },
    { "system", first_line("/etc/os-release", '^PRETTY_NAME="?([^"]*)') },
    { "files on", shell.try("stat -f -c %T " .. shell.quote(dir)) },
    { "moontap", (shell.try("moontap --version") or "?"):match("[^\n]*") },
  }
  for _, rival in ipairs(rivals) do
    local version = package_version(rival[1])
    if version then
      list[#list + 1] = { rival[2], ("%s (package %s)"):format(version, rival[1]) }
    end
  end
  return list
end

return M
