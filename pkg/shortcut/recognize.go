package shortcut

import (
	"bytes"
	"slices"
	"strconv"
)

// recognizer recognises bytes that begin with one whole request for the shortcut. It
// accepts a small part of HTTP, and nothing that two parsers could read differently:
// anything doubtful is left to net/http.
type recognizer []Route

const protocol = " HTTP/1.1\r\n"

// harmless are header fields that do not affect the answer, in lower case, by length. A
// request with any other field, like Transfer-Encoding, Expect, Upgrade, Range or
// Authorization, is left to net/http.
var harmless = byLength("accept", "accept-encoding", "accept-language", "baggage", "cache-control", "pragma", "priority",
	"referer", "sec-fetch-dest", "sec-fetch-mode", "sec-fetch-site", "traceparent", "tracestate", "user-agent",
	"x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip")

func byLength(names ...string) (table [18][]string) {
	for _, name := range names {
		table[len(name)] = append(table[len(name)], name)
	}
	return table
}

func (r recognizer) route(b []byte) *Route {
	for i := range r {
		if start := r[i].Start; len(b) >= len(start) && string(b[:len(start)]) == start {
			return &r[i]
		}
	}
	return nil
}

// recognize returns the length of the request at the beginning of b, its route and the
// part that the route answers. A value with escapes is decoded into scratch, which is as
// large as b. The length is 0 if b does not begin with a whole request for the shortcut.
func (r recognizer) recognize(b, scratch []byte) (size int, route *Route, request Request) {
	if route = r.route(b); route == nil {
		return 0, nil, request
	}
	rest := b[len(route.Start):]
	length := bytes.IndexByte(rest, ' ')
	if length < 0 || !bytes.HasPrefix(rest[length:], []byte(protocol)) {
		return 0, nil, request
	}
	raw := rest[:length]
	escaped, ok := plainValue(raw)
	if !ok || escaped && route.posts() { // paths are decoded by other rules
		return 0, nil, request
	}
	rest = rest[length+len(protocol):]
	hosts, types, bodyLength := 0, 0, 0
	for {
		end := bytes.IndexByte(rest, '\r')
		if end < 0 || end+1 >= len(rest) || rest[end+1] != '\n' {
			return 0, nil, request
		}
		line := rest[:end]
		rest = rest[end+2:]
		if end == 0 {
			break
		}
		colon := bytes.IndexByte(line, ':')
		if colon <= 0 {
			return 0, nil, request
		}
		name, content := line[:colon], trim(line[colon+1:])
		switch {
		case !printable(content):
			return 0, nil, request
		case route.posts() && equalFold(name, "content-type"):
			if types++; !slices.Contains(route.ContentTypes, string(content)) {
				return 0, nil, request
			}
		case route.posts() && equalFold(name, "content-length"):
			if bodyLength != 0 || !decimal(content) {
				return 0, nil, request
			}
			bodyLength, _ = strconv.Atoi(string(content)) // four digits at most
		case equalFold(name, "host"):
			if hosts++; !plainHost(content) {
				return 0, nil, request
			}
		case equalFold(name, "connection"):
			if !equalFold(content, "keep-alive") {
				return 0, nil, request
			}
		case equalFold(name, "if-none-match"):
			if request.IfNoneMatch != nil || len(content) == 0 {
				return 0, nil, request
			}
			request.IfNoneMatch = content
		case !isHarmless(name):
			return 0, nil, request
		}
	}
	if hosts != 1 || route.posts() && (types != 1 || bodyLength == 0) || bodyLength > len(rest) {
		return 0, nil, request
	}
	if escaped {
		raw = unescape(scratch, raw)
	}
	request.Value, request.Body = raw, rest[:bodyLength]
	return len(b) - len(rest) + bodyLength, route, request
}

// decimal reports whether digits are a number from 1 to 9999.
func decimal(digits []byte) bool {
	for _, c := range digits {
		if c < '0' || '9' < c {
			return false
		}
	}
	return 0 < len(digits) && len(digits) <= 4 && digits[0] != '0'
}

// plainValue reports whether v is a query value that all parsers read alike: it has
// unreserved characters, a few others that queries may have, and percent escapes.
func plainValue(v []byte) (escaped, ok bool) {
	for i := 0; i < len(v); i++ {
		switch c := v[i]; {
		case alphanumeric(c) || c == '-' || c == '_' || c == '.' || c == '~' || c == '@' || c == ':' || c == '/':
		case c == '%' && i+2 < len(v) && unhex(v[i+1]) < 16 && unhex(v[i+2]) < 16:
			escaped = true
			i += 2
		default:
			return false, false
		}
	}
	return escaped, true
}

// unescape decodes a value that plainValue accepts.
func unescape(scratch, v []byte) []byte {
	n := 0
	for i := 0; i < len(v); i, n = i+1, n+1 {
		scratch[n] = v[i]
		if v[i] == '%' {
			scratch[n] = unhex(v[i+1])<<4 | unhex(v[i+2])
			i += 2
		}
	}
	return scratch[:n]
}

// unhex returns the value of a hexadecimal digit, 16 for any other character.
func unhex(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10
	}
	return 16
}

func alphanumeric(c byte) bool {
	return 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9'
}

func plainHost(host []byte) bool {
	for _, c := range host {
		if !alphanumeric(c) && c != '.' && c != '-' && c != ':' && c != '_' {
			return false
		}
	}
	return len(host) > 0
}

func printable(content []byte) bool {
	for _, c := range content {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return true
}

func trim(content []byte) []byte {
	for len(content) > 0 && content[0] == ' ' {
		content = content[1:]
	}
	for len(content) > 0 && content[len(content)-1] == ' ' {
		content = content[:len(content)-1]
	}
	return content
}

func isHarmless(name []byte) bool {
	if len(name) >= len(harmless) {
		return false
	}
	for _, known := range harmless[len(name)] {
		if equalFold(name, known) {
			return true
		}
	}
	return false
}

// equalFold compares ASCII without case. lower has only lower-case letters and hyphens,
// for which folding by one bit is exact, except that '\r' equals '-'; no line has '\r'.
func equalFold(b []byte, lower string) bool {
	if len(b) != len(lower) {
		return false
	}
	for i, c := range b {
		if c|0x20 != lower[i] {
			return false
		}
	}
	return true
}
