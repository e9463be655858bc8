-- Makes wrk end with one line of JSON; and ask for many paths, where it is given words behind `--`.

-- The whole request but for the end of its path, which wrk would put together anew for each one.
local before, after

local function path(ending)
  return before .. ending .. after
end

-- zipf KEYS: the paths URL/1 to URL/KEYS, the nth of them 1/n as often as the first.
local function zipf(keys)
  local sums, sum = {}, 0
  for key = 1, keys do
    sum = sum + 1 / key
    sums[key] = sum
  end
  math.randomseed(1)
  local drawn = {}
  for turn = 1, 20 * keys do
    local point, low, high = math.random() * sum, 1, keys
    while low < high do
      local middle = math.floor((low + high) / 2)
      if sums[middle] < point then low = middle + 1 else high = middle end
    end
    drawn[turn] = path(low)
  end
  -- At first each of them once, so that a short round asks for all.
  local turn = -keys
  request = function()
    turn = turn + 1
    if turn <= 0 then return path(turn + keys) end
    return drawn[turn % #drawn + 1]
  end
end

-- new PREFIX [COUNT]: another path with each request, and others than with another PREFIX; after COUNT the same again.
local function new(prefix, count)
  local turn = 0
  request = function()
    turn = turn % count + 1
    return path(prefix .. "-" .. turn)
  end
end

function init(words)
  if #words == 0 then return end
  local whole = wrk.format("GET", wrk.path .. "@@")
  local at = string.find(whole, "@@", 1, true)
  before, after = string.sub(whole, 1, at - 1), string.sub(whole, at + 2)
  if words[1] == "zipf" then zipf(tonumber(words[2])) else new(words[2], tonumber(words[3]) or 2 ^ 53) end
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format('\n{"requests": %d, "errors": %d, "seconds": %f}\n', summary.requests,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout, summary.duration / 1e6))
end
