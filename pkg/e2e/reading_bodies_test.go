package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/flaggery/flaggery/pkg/api"
)

func TestBodiesHaveOneReading(t *testing.T) {
	t.Parallel()
	eachOperation(t, func(t *testing.T, _ *services, o *operation) {
		if o.media != api.MediaJSON {
			return
		}
		_, path, _ := strings.Cut(o.call, " ")
		body := o.resolve(o.Paths[path][strings.ToLower(o.method)].RequestBody.Content[o.media].Schema)
		if body.Type == "string" { // a document, which pkg/state reads
			return
		}
		ofrep := strings.HasPrefix(path, "/ofrep/")
		unfit := 422
		if ofrep {
			unfit = 400 // the protocol has no other status
		}
		send := func(text string) answer {
			t.Helper()
			return o.do(t, func(r *http.Request) { setBody(r, text) })
		}
		refuse := func(what, text string, status int) {
			t.Helper()
			a := send(text)
			if ofrep {
				if a.status != status || !strings.Contains(a.body, `"errorCode"`) {
					t.Errorf("%s is answered %d %s", what, a.status, a.body)
				}
				return
			}
			a.is(t, what, status, api.ValidationFailed, "")
		}
		want := o.do(t, nil).status
		take := func(what, text string) {
			t.Helper()
			send(text).is(t, what, want, "", "")
		}
		var members map[string]json.RawMessage
		if err := json.Unmarshal([]byte(o.body), &members); err != nil {
			t.Fatal(err)
		}
		name := slices.Sorted(maps.Keys(members))[0]
		with := func(member, value string) string {
			changed := maps.Clone(members)
			changed[member] = json.RawMessage(value)
			text, err := json.Marshal(changed)
			if err != nil {
				t.Fatal(err)
			}
			return string(text)
		}

		refuse("a member twice", fmt.Sprintf(`{%q: %s, %s`, name, members[name], o.body[1:]), 400)
		refuse("half a character", `{"\ud800": 1, `+o.body[1:], 400)
		refuse("half of the body", o.body[:len(o.body)-1], 400)
		refuse("another case", strings.Replace(o.body, name, strings.ToUpper(name), 1), unfit)
		refuse("two bodies", o.body+" {}", unfit)
		take("a byte order mark", api.ByteOrderMark+o.body)
		for member, s := range body.Properties {
			switch s = o.resolve(s); s.Type {
			case "integer":
				take(member+" 1.0", strings.Replace(with(member, "123456789"), "123456789", max(s.value(), "1")+".0", 1))
			case nil: // a payload
				if ofrep {
					continue // has none
				}
				take(member+" 64 deep", with(member, strings.Repeat("[", 64)+strings.Repeat("]", 64)))
				refuse(member+" 65 deep", with(member, strings.Repeat("[", 65)+strings.Repeat("]", 65)), 422)
			}
		}
	})
}

// A body is read by its Content-Type, in every call alike. A body that a call does
// not read is rejected.
func TestBodiesAreWhatTheySay(t *testing.T) {
	t.Parallel()
	eachOperation(t, func(t *testing.T, _ *services, o *operation) {
		success := o.do(t, nil).status
		if o.media == "" {
			for _, nothing := range []string{"", " ", "{}", " {}\r\n"} {
				o.do(t, func(r *http.Request) { setBody(r, nothing) }).is(t, fmt.Sprintf("the body %q", nothing), success, "", "")
				o.do(t, func(r *http.Request) { setBody(r, nothing); r.ContentLength = -1 }).is(t, fmt.Sprintf("the body %q in chunks", nothing), success, "", "")
			}
			for _, something := range []string{`{"dry_run": true}`, `null`, `[]`, `{`, "{}" + strings.Repeat(" ", 1<<10) + "1"} {
				o.do(t, func(r *http.Request) { setBody(r, something) }).is(t, "a body", 422, api.ValidationFailed, "body")
				o.do(t, func(r *http.Request) { setBody(r, something); r.ContentLength = -1 }).is(t, "a body in chunks", 422, api.ValidationFailed, "body")
			}
			return
		}
		named := func(values ...string) answer {
			t.Helper()
			return o.do(t, func(r *http.Request) {
				if r.Header["Content-Type"] = values; values == nil {
					delete(r.Header, "Content-Type")
				}
			})
		}
		for _, as := range []string{"", "; charset=utf-8", ";charset=\"UTF-8\"", " ; version=1", ";"} {
			named(o.media+as).is(t, o.media+as, success, "", "")
		}
		named(strings.ToUpper(o.media)).is(t, "upper case", success, "", "")
		for _, other := range []string{"", " ", "text/plain", "application/x-www-form-urlencoded", "application/vnd.api+json", "application/jsonx", o.media + "; charset=iso-8859-1", o.media + ", " + o.media} {
			named(other).is(t, other, 415, api.UnsupportedMediaType, "")
		}
		if o.media == api.MediaJSON {
			named().is(t, "no Content-Type", success, "", "")
		} else {
			named().is(t, "no Content-Type", 415, api.UnsupportedMediaType, "")
		}
	})
}

// null is not the same as a missing member: it has a meaning, or it is rejected.
func TestNullsHaveOneReading(t *testing.T) {
	t.Parallel()
	meant := []string{"payload"}
	eachOperation(t, func(t *testing.T, _ *services, o *operation) {
		_, path, _ := strings.Cut(o.call, " ")
		if o.media != api.MediaJSON || strings.HasPrefix(path, "/ofrep/") { // which accepts any clients' members
			return
		}
		body := o.resolve(o.Paths[path][strings.ToLower(o.method)].RequestBody.Content[o.media].Schema)
		for name := range body.Properties {
			var members map[string]any
			if err := json.Unmarshal([]byte(o.body), &members); err != nil {
				t.Fatal(err)
			}
			members[name] = nil
			text, err := json.Marshal(members)
			if err != nil {
				t.Fatal(err)
			}
			a := o.do(t, func(r *http.Request) { setBody(r, string(text)) })
			if slices.Contains(meant, name) {
				a.is(t, string(text), 200, "", "")
			} else {
				a.is(t, string(text), 422, api.ValidationFailed, "body."+name)
			}
		}
		o.do(t, func(r *http.Request) { setBody(r, "null") }).is(t, "null", 422, api.ValidationFailed, "body")
	})
}
