"""The script Redis runs for each request: db/sliding.py in Lua, with whole microseconds for seconds."""

# KEYS: the windows. ARGV: amount, now (0: the server's clock), then limit, span, grain of each window.
# Answer: 1 if counted, then of each window the hits in it and the microseconds until there is room (again, or more).
TAKE = """
local amount, now = tonumber(ARGV[1]), tonumber(ARGV[2])
if now == 0 then
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end
local logs, used, fits, mended = {}, {}, true, false
for i, key in ipairs(KEYS) do
  local limit, span = tonumber(ARGV[3 * i]), tonumber(ARGV[3 * i + 1])
  local kept, log, hits = redis.call('GET', key), {}, 0
  if kept then
    kept = cmsgpack.unpack(kept)
    for at = 1, #kept, 2 do
      if now - kept[at] < span then
        if kept[at] > now then mended = true end
        log[#log + 1] = math.min(kept[at], now)
        log[#log + 1] = kept[at + 1]
        hits = hits + kept[at + 1]
      end
    end
  end
  logs[i], used[i] = log, hits
  if hits + amount > limit then fits = false end
end
local counts = fits and amount > 0
local answer = {fits and 1 or 0}
for i, key in ipairs(KEYS) do
  local limit, span, grain = tonumber(ARGV[3 * i]), tonumber(ARGV[3 * i + 1]), tonumber(ARGV[3 * i + 2])
  local log, surplus = logs[i], 1
  if counts then
    local last = log[#log - 1]
    if last and (last == now or grain > 0 and math.floor(last / grain) == math.floor(now / grain)) then
      log[#log - 1] = now
      log[#log] = log[#log] + amount
    else
      log[#log + 1] = now
      log[#log + 1] = amount
    end
    used[i] = used[i] + amount
  else
    surplus = math.max(1, used[i] + amount - limit)
  end
  if (counts or mended) and #log > 0 then
    redis.call('SET', key, cmsgpack.pack(log), 'PX', math.ceil((log[#log - 1] + span - now) / 1000) + 1)
  end
  local wait = span
  for at = 1, #log, 2 do
    surplus = surplus - log[at + 1]
    if surplus <= 0 then
      wait = log[at] + span - now
      break
    end
  end
  answer[2 * i], answer[2 * i + 1] = used[i], wait
end
return answer
"""
