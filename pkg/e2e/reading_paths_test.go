package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/flaggery/flaggery/pkg/api"
)

func TestPathsHaveOneReading(t *testing.T) {
	t.Parallel()
	eachOperation(t, func(t *testing.T, _ *services, o *operation) {
		encoded, joined := *o, *o
		encoded.path = fmt.Sprintf("/%%%02x%s", o.path[1], o.path[2:])
		want, got := o.do(t, nil), encoded.do(t, nil)
		if got.status != want.status {
			t.Errorf("%s: %d %s, want %d %s", encoded.path, got.status, got.body, want.status, want.body)
		}
		joined.path = "/" + strings.Replace(o.path[1:], "/", "%2F", 1)
		joined.do(t, nil).is(t, joined.path, 404, api.NotFound, "")
	})
}

func TestEdgesRefuseWhatTheAdminDoes(t *testing.T) {
	t.Parallel()
	s := startServices(t)
	ours := map[string]bool{}
	for _, o := range s.operations(t, s.edge) {
		ours[o.call] = true
	}
	for _, o := range s.operations(t, s.admin) {
		if ours[o.call] {
			continue
		}
		t.Run(o.call, func(t *testing.T) {
			o.documented = s.edge
			o.do(t, nil).is(t, o.call, 423, api.ReadOnly, "")
			o.do(t, setHeader("Authorization", "")).is(t, "without a token", 423, api.ReadOnly, "")
		})
	}
}

func TestUnknownPathsAndMethods(t *testing.T) {
	t.Parallel()
	eachOperation(t, func(t *testing.T, _ *services, o *operation) {
		longer := *o
		longer.path += "/none/none/none"
		longer.do(t, nil).is(t, longer.path, 404, api.NotFound, "")
		a := o.do(t, func(r *http.Request) { r.Method = "PROPFIND" })
		a.is(t, "PROPFIND", 405, api.MethodNotAllowed, "")
		if allow := a.header.Get("Allow"); !strings.Contains(allow, o.method) {
			t.Errorf("the methods allowed are %q, without %s", allow, o.method)
		}
	})
}
