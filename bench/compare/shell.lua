-- SPDX-License-Identifier: BSD-2-Clause
-- Commands, run in the benchmark's folder or measured there.
local M = {
  dir = nil,      -- the folder
  measure = nil,  -- path of the program measure
  limit = 600,    -- seconds after which a measured command is given up
}

function M.quote(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

local function read(path)
  local file = io.open(path, "rb")
  if not file then
    return ""
  end
  local text = file:read("*a")
  file:close()
  return text
end

-- moontap, and the tools the benchmark brings, are in bin.
local function in_folder(command)
  return ("cd %s && PATH=%s/bin:\"$PATH\" LC_ALL=C && export PATH LC_ALL && %s"):format(M.quote(M.dir), M.quote(M.dir),
    command)
end

--- Run a command without measuring it.
-- @tparam string command for sh
-- @treturn string its standard output without the last line's end, or nil
-- @treturn string what it said on standard error if it failed
function M.try(command)
  local out, err = M.dir .. "/.out", M.dir .. "/.err"
  local status = os.execute(in_folder(("{ %s\n} >%s 2>%s </dev/null"):format(command, M.quote(out), M.quote(err))))
  if status ~= 0 then
    local text = read(err)
    return nil, text ~= "" and text or ("exit status %d"):format(status / 256)
  end
  return (read(out):gsub("\n$", ""))
end

--- The same for what has to work.
-- @raise what the command said
function M.run(command)
  local out, err = M.try(command)
  return out or error({ message = command .. ": " .. err })
end

--- Run and measure a command.
-- @tparam string command for sh
-- @treturn table seconds, cpu (seconds), peak (bytes), status (of the exit), out, err
function M.timed(command)
  local status = os.execute(in_folder(("exec %s %d .out .err %s >.measured"):format(M.quote(M.measure), M.limit,
    M.quote(command))))
  local wall, user, system, peak, code = read(M.dir .. "/.measured"):match("(%S+) (%S+) (%S+) (%d+) (%d+)")
  if status ~= 0 or not wall then
    error({ message = "interrupted", status = math.floor(status / 256) })
  end
  return {
    seconds = tonumber(wall), cpu = user + system, peak = tonumber(peak), status = tonumber(code),
    out = read(M.dir .. "/.out"), err = read(M.dir .. "/.err"),
  }
end

function M.has(program)
  return M.try("command -v " .. M.quote(program)) ~= nil
end

--- Bytes of a file.
function M.size(path)
  return tonumber(M.run("stat -L -c %s " .. M.quote(path)))
end

return M
