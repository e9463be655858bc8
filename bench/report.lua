-- Makes wrk end with one line of JSON.
function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format('\n{"requests": %d, "errors": %d, "seconds": %f}\n', summary.requests,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout, summary.duration / 1e6))
end
