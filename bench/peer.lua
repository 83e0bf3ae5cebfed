-- bench/peer.lua — what a user of nginx + Lua + Redis would write instead of the gateway: ES256 by luaossl with a key parsed once,
-- the session and the computer from Redis in one round trip over kept connections, the agent picked by the balancer. It does what
-- Debian 12 packages allow (there is no lua-resty-jwt; lua-nginx-redis needs nginx-extras, so two commands of RESP are written here).
local cjson = require "cjson.safe"
local digest = require "openssl.digest"
local pkey = require "openssl.pkey"
local balancer = require "ngx.balancer"
local peer = {}

function peer.init(key_file, issuer, redis_port)
    local file = assert(io.open(key_file))
    peer.key = pkey.new(file:read("*a"))
    peer.issuer, peer.redis_port = issuer, redis_port
    file:close()
end

local function decode(text)
    return ngx.decode_base64((text:gsub("-", "+"):gsub("_", "/")) .. ("="):rep(-#text % 4))
end

-- a number of a raw signature as a DER INTEGER
local function integer(bytes)
    bytes = bytes:gsub("^%z+", "")
    if bytes == "" or bytes:byte() >= 128 then
        bytes = "\0" .. bytes
    end
    return "\2" .. string.char(#bytes) .. bytes
end

local function claims_of(token)
    local head, claims, signature = token:match("^([%w_-]+)%.([%w_-]+)%.([%w_-]+)$")
    local raw = signature and decode(signature)
    local header = head and cjson.decode(decode(head) or "")
    if not raw or #raw ~= 64 or not header or header.alg ~= "ES256" then
        return nil
    end
    local numbers = integer(raw:sub(1, 32)) .. integer(raw:sub(33))
    local der = "\48" .. string.char(#numbers) .. numbers
    if not peer.key:verify(der, digest.new("sha256"):update(head .. "." .. claims)) then
        return nil
    end
    claims = cjson.decode(decode(claims) or "")
    local now = ngx.time()
    if not claims or claims.iss ~= peer.issuer or (claims.exp or 0) <= now or (claims.nbf or 0) > now then
        return nil
    end
    return claims
end

local function command(...)
    local words, out = { ... }, {}
    out[1] = "*" .. #words .. "\r\n"
    for _, word in ipairs(words) do
        out[#out + 1] = "$" .. #word .. "\r\n" .. word .. "\r\n"
    end
    return table.concat(out)
end

-- an array of bulk strings
local function array(socket)
    local count, values = tonumber((socket:receive() or ""):match("^%*(%d+)")), {}
    for i = 1, count or 0 do
        local size = tonumber((socket:receive() or ""):match("^%$(%-?%d+)"))
        values[i] = size and size >= 0 and socket:receive(size) or nil
        if size and size >= 0 then
            socket:receive(2)
        end
    end
    return values
end

local function route_of(claims)
    local socket = ngx.socket.tcp()
    if not socket:connect("127.0.0.1", peer.redis_port) then
        return nil
    end
    socket:send(command("HMGET", "session:{" .. claims.sid .. "}", "computer", "revoked") ..
                command("HMGET", "computer:{" .. claims.cid .. "}", "state", "agent"))
    local session, computer = array(socket), array(socket)
    socket:setkeepalive(60000, 256)
    if session[1] ~= claims.cid or session[2] or computer[1] ~= "running" or not computer[2] then
        return nil
    end
    return computer[2]
end

function peer.access()
    local token = (ngx.var.http_authorization or ""):match("^Bearer (.+)$")
    local claims = token and claims_of(token)
    if not claims then
        return ngx.exit(401)
    end
    ngx.ctx.agent = route_of(claims)
    if not ngx.ctx.agent then
        return ngx.exit(503)
    end
end

function peer.balance()
    local host, port = ngx.ctx.agent:match("^(.*):(%d+)$")
    assert(balancer.set_current_peer(host, tonumber(port)))
end

return peer
