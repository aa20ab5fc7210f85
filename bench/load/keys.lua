-- wrk: each request carries the next of the API keys in the file that is the script's first argument. All requests are
-- made beforehand, so that a request costs the load generator one table look-up.
local here = debug.getinfo(1, "S").source:match("^@(.*/)")
dofile(here .. "report.lua")

local requests, count, next_one = {}, 0, 0

function init(args)
  for key in io.lines(args[1]) do
    count = count + 1
    wrk.headers["X-API-Key"] = key  -- beside what -H gave
    requests[count] = wrk.format("GET")
  end
end

function request()
  next_one = next_one % count + 1
  return requests[next_one]
end
