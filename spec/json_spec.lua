-- SPDX-License-Identifier: BSD-2-Clause
-- moontap.json.  Judge: jq.
local t = require("support.moontap")

-- What a script prints that runs `body` at its first packet.
local function print_of(body)
  t.write("s.lua", "return { on_packet = function(p) " .. body .. " moontap.stop() end }")
  return t.run("moontap -l ./s.lua f/web.pcap").out
end

describe("moontap.json", function()
  before_each(t.fresh)
  after_each(t.clean)

  it("writes values on one line, keys sorted", function()
    assert.equal('{"a":[1,2.5,"x"],"b":true,"c":{"d":{}},"e":[]}\n', print_of(
      'print(moontap.json.encode { b = true, a = { 1, 2.5, "x" }, c = { d = {} }, e = moontap.list() })'))
  end)

  it("writes all keys of a table that are not 1 to n", function()
    assert.equal('[{"1":5,"17":2,"6":7},{"1":1,"2":2,"x":3},{"1":1,"3":3}]\n', print_of(
      'print(moontap.json.encode { { [1] = 5, [6] = 7, [17] = 2 }, { 1, 2, x = 3 }, { 1, nil, 3 } })'))
  end)

  it("writes 64-bit numbers with all digits and addresses as text", function()
    local line = print_of("print(moontap.json.encode { ts = p.ts_ns, src = p.src, most = -1ULL })")
    assert.equal('{"most":"18446744073709551615","src":"10.9.1.2","ts":1795339590963403000}\n', line)
  end)

  it("writes what JSON can not hold as null or hex", function()
    assert.equal('[null,null,"ff00","ä\\"\\n"]\n', print_of([[print(moontap.json.encode { 0 / 0, 1 / 0, "\255\0", 'ä"\n' })]]))
  end)

  it("survives a table that contains itself", function()
    t.write("self.json", print_of "local a = {} a[1] = a print(moontap.json.encode(a))")
    t.run("jq . self.json")
  end)

  it("writes null for a table within itself, however many ways lead back to it", function()
    assert.equal('[{"up":null},{"up":null}]\n', print_of [[
      local tree = {}
      for i = 1, 2 do tree[i] = { up = tree } end
      print(moontap.json.encode(tree))]])
    local line = print_of [[
      local tree, twice = {}, { "x" }
      for i = 1, 50 do tree[i] = { up = tree, a = twice, b = twice } end
      print(#moontap.json.encode(tree), moontap.json.encode { twice, twice })]]
    assert.equal('1601\t[["x"],["x"]]\n', line)
  end)

  it("reads what it writes, and what jq writes", function()
    t.write("in.json", [[{"a": [1, -2.5e3, null, "\u00e4\ud83d\ude00"], "b": {"c": false}}]])
    t.run("jq -c . in.json >jq.json")
    assert.equal("1\t-2500\tä😀\tfalse\n", print_of([[local v = moontap.json.decode(io.open("jq.json"):read("*a"))
      print(v.a[1], v.a[2], v.a[4], v.b.c)]]))
  end)

  it("says what is wrong with a text", function()
    local line = print_of [[print(moontap.json.decode '{"a":\n}') print(moontap.json.decode '{"a":1,"a":2}') print(pcall(moontap.json.decode))]]
    assert.is_truthy(line:find("nil\tline 2: ", 1, true))
    assert.is_truthy(line:find("duplicate", 1, true))
    assert.is_truthy(line:find("expected a string", 1, true))
  end)

  it("makes JSON lines of results", function()
    t.write("s.lua", [[local n = 0
      return { interval = 0.5, on_packet = function() n = n + 1 end,
        on_interval = function(now) print(moontap.json.encode { time = now, packets = n }) n = 0 end }]])
    t.run("moontap -l ./s.lua f/web.pcap >lines; jq -s 'map(.packets) | add' lines >sum")
    assert.equal("169\n", t.read("sum"))
  end)
end)
