-- wrk: every request uploads 64 KiB.
local here = debug.getinfo(1, "S").source:match("^@(.*/)")
dofile(here .. "report.lua")
wrk.method = "POST"
wrk.body = string.rep("u", 65536)
