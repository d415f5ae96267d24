package admin

import (
	"compress/gzip"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/auth"
	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/state"
)

// All forms of what an owner manages have one version, which If-Match takes.
func TestVersionOfState(t *testing.T) {
	t.Parallel()
	c := start(t)
	populate(c)
	const path = "/v1/state?owner=repository"
	documents := 0
	document := func(owner string) string { // each another one
		documents++
		return fmt.Sprintf("{version: 1, owner: %s, groups: {of-%s: {priority: %d}}}", owner, owner, documents)
	}
	c.must("PUT", "/v1/state", "{version: 1, owner: repository, features: {owned: {description: "+strings.Repeat("x", 2000)+"}}}")
	get := func(path string, header ...string) answer {
		return c.must("GET", path, nil, append(header, "Accept-Encoding", "identity")...)
	}
	plain := get(path)
	tag := plain.Header.Get("ETag")
	for _, query := range []string{"&format=yaml", "&format=json", "&format=openfeature-manifest", "&features=owned", "&for=promotion"} {
		if got := get(path + query).Header.Get("ETag"); tag == "" || got != tag {
			t.Errorf("%s: ETag %s, not %s", query, got, tag)
		}
	}
	if others := get("/v1/state").Header.Get("ETag"); others == tag {
		t.Errorf("everything has the ETag of its part, %s", tag)
	}
	head := c.must("HEAD", path+"&format=json", nil)
	if head.is(200, ""); head.Header.Get("ETag") != tag || head.Header.Get("Content-Type") != api.MediaJSON {
		t.Errorf("HEAD: %v", head.Header)
	}
	compressed := c.must("GET", path, nil, "Accept-Encoding", "gzip")
	unpacked, err := gzip.NewReader(strings.NewReader(string(compressed.Body)))
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(unpacked); err != nil || string(text) != string(plain.Body) {
		t.Errorf("compressed: %v, %s", err, text)
	}

	put := func(owner, tag string) answer {
		return c.do("PUT", "/v1/state", document(owner), "Content-Type", api.MediaYAML, "If-Match", tag)
	}
	c.must("PATCH", "/v1/features/foobar", `{"description": "of nobody"}`)
	c.must("PUT", "/v1/state", document("other"))
	if a := put("repository", tag); a.Status != 200 {
		t.Errorf("the current ETag: %d %s", a.Status, a.Body)
	}
	now := get(path).Header.Get("ETag")
	if p := put("repository", tag).isProblem(412, model.PreconditionFailed, ""); now == tag || p.Current != now {
		t.Errorf("the ETag became %s, the problem says %s", now, p.Current)
	}
	put("other", now).isProblem(412, model.PreconditionFailed, "")
	if a := put("repository", c.must("GET", path, nil, "Accept-Encoding", "gzip").Header.Get("ETag")); a.Status != 200 {
		t.Errorf("the ETag of a compressed answer: %d %s", a.Status, a.Body)
	}
	if a := put("repository", "*"); a.Status != 200 {
		t.Errorf("any ETag: %d %s", a.Status, a.Body)
	}
	unowned := "{version: 1, features: {foobar: {description: of a document}}}"
	c.do("PUT", "/v1/state", unowned, "If-Match", get(path).Header.Get("ETag")).isProblem(412, model.PreconditionFailed, "")
	c.must("PUT", "/v1/state", unowned, "If-Match", get("/v1/state").Header.Get("ETag"))
}

func TestWhoPrunesAndForces(t *testing.T) {
	t.Parallel()
	c := start(t)
	c.must("PUT", "/v1/state", "{version: 1, owner: repository, features: {checkout.button: {}}, groups: {friends: {}}}")
	viewer, _ := c.makeToken(auth.ViewerRole)
	editor, _ := c.makeToken(auth.EditorRole)
	var token api.Token
	c.must("POST", "/v1/tokens", `{"name": "ci", "role": "editor", "scope": ["checkout.*"]}`).into(&token)
	scoped := client{t, c.url, token.Token}

	const (
		lacking   = "{version: 1, owner: repository, features: {checkout.button: {}}}"
		elsewhere = "{version: 1, owner: other, features: {checkout.button: {}}}"
		outside   = "{version: 1, owner: repository, groups: {friends: {priority: 1}}}"
	)
	before := c.must("GET", "/v1/state", nil).Header.Get(api.HeaderRevision)
	for _, row := range []struct {
		by              client
		query, document string
		code            model.Code // "" for success
		detail          string
	}{
		{viewer, "", lacking, model.Forbidden, "viewer"},
		{viewer, "dry_run=true&prune=true", lacking, "", ""},
		{viewer, "dry_run=true&force=true", elsewhere, "", ""},
		{editor, "prune=true", lacking, model.Forbidden, "require role admin, the token has role editor"},
		{editor, "force=true", elsewhere, model.Forbidden, "require role admin, the token has role editor"},
		{editor, "dry_run=true&prune=true", lacking, "", ""},
		{editor, "prune=false&force=false", elsewhere, model.ManagedElsewhere, `"repository"`},
		{scoped, "prune=true", lacking, model.Forbidden, "require role admin"},
		{scoped, "force=true", elsewhere, model.Forbidden, "require role admin"},
		{scoped, "", outside, model.Forbidden, `(checkout.*) does not include "friends"`},
		{scoped, "dry_run=true", outside, "", ""},
		{scoped, "", lacking, "", ""}, // which changes nothing
		{c, "dry_run=true", elsewhere, model.ManagedElsewhere, `"repository"`},
	} {
		a := row.by.do("PUT", "/v1/state?"+row.query, row.document)
		if row.code == "" {
			if a.Status != 200 {
				t.Errorf("%s: %d %s", a.call, a.Status, a.Body)
			}
			continue
		}
		if p := a.isProblem(map[model.Code]int{model.Forbidden: 403, model.ManagedElsewhere: 409}[row.code], row.code, ""); !strings.Contains(p.Detail, row.detail) {
			t.Errorf("%s: %q does not say %q", a.call, p.Detail, row.detail)
		}
	}
	if after := c.must("GET", "/v1/state", nil).Header.Get(api.HeaderRevision); after != before {
		t.Errorf("revision %s became %s", before, after)
	}
	c.must("PUT", "/v1/state?force=true", elsewhere)
	c.must("PUT", "/v1/state?prune=true", "{version: 1, owner: repository}")
	c.must("PUT", "/v1/state?prune=true", "{version: 1, owner: other}")
	c.do("GET", "/v1/groups/friends", nil).isProblem(404, model.GroupNotFound, "")
	if a := c.must("GET", "/v1/features/checkout.button", nil); !strings.Contains(string(a.Body), `"archived":true`) {
		t.Errorf("after pruning: %s", a.Body)
	}
}

func TestBodiesOfStates(t *testing.T) {
	t.Parallel()
	c := start(t)
	const bom = "\ufeff"
	unsized := io.MultiReader(strings.NewReader(strings.Repeat(" ", state.MaxSize+1))) // no Content-Length
	for _, row := range []struct {
		body     any
		media    string
		status   int
		code     model.Code // "" for success
		location string
	}{
		{nil, api.MediaYAML, 400, model.ValidationFailed, ""},
		{"", api.MediaYAML, 400, model.ValidationFailed, ""},
		{"\n# nothing\n", api.MediaYAML, 422, model.ValidationFailed, "body"},
		{bom, api.MediaYAML, 422, model.ValidationFailed, "body"},
		{"null", api.MediaJSON, 422, model.ValidationFailed, "body"},
		{"version: 1\r\nfeatures:\r\n  a:\r\n    wrong: x\r\n", api.MediaYAML, 422, model.ValidationFailed, "body.features.a.wrong"},
		{`{"version": 1}`, api.MediaJSON, 200, "", ""},
		{`{"version": 1}`, api.MediaYAML, 200, "", ""},
		{bom + `{"version": 1}`, api.MediaJSON, 200, "", ""},
		{`{"version": 1, "features": {"a": {"description": "` + "\x7f\u0085\u2028" + `"}}}`, api.MediaJSON, 200, "", ""},
		{`version: 1`, api.MediaJSON, 400, model.ValidationFailed, "body"},
		{`{"version": 1,}`, api.MediaJSON, 400, model.ValidationFailed, "body"},
		{`{"version": 1, "features": {"a": {"variants": {"A": {"payload": NaN}}}}}`, api.MediaJSON, 400, model.ValidationFailed, "body"},
		{`{"version": 1, "version": 1}`, api.MediaJSON, 400, model.ValidationFailed, "body"},
		{`{"version": 1} {}`, api.MediaJSON, 422, model.ValidationFailed, "body"},
		{"version: 1", api.MediaYAML + "; charset=utf-8", 200, "", ""},
		{"version: 1", api.MediaYAML + "; charset=latin1", 415, model.UnsupportedMediaType, ""},
		{unsized, api.MediaYAML, 413, model.BodyTooLarge, ""},
	} {
		a := c.do("PUT", "/v1/state", row.body, "Content-Type", row.media)
		switch {
		case row.code != "":
			a.isProblem(row.status, row.code, row.location)
		case a.Status != row.status:
			t.Errorf("%v: %d %s", row.body, a.Status, a.Body)
		}
	}
	c.do("PUT", "/v1/state", "version: 1", "Content-Type", api.MediaYAML, "Content-Encoding", "gzip").isProblem(415, model.UnsupportedMediaType, "")

	// A file of Windows is the document that it would be elsewhere.
	text := "version: 1\nfeatures:\n  a:\n    description: |\n      two\n      lines\n    tags: [web]\n"
	c.must("PUT", "/v1/state", bom+strings.ReplaceAll(text, "\n", "\r\n"), "Content-Type", api.MediaYAML)
	var again api.AppliedState
	if c.must("PUT", "/v1/state", text, "Content-Type", api.MediaYAML).into(&again); len(again.Changes) > 0 {
		t.Errorf("line ends make a difference: %v", again.Changes)
	}
	var feature api.Feature
	if c.must("GET", "/v1/features/a", nil).into(&feature); feature.Description != "two\nlines\n" {
		t.Errorf("description is %q", feature.Description)
	}
}

// Of two documents at the same time, one is applied after the other, or refused as it
// was made for an earlier version. Nobody reads some of both.
func TestTwoStatesAtOnce(t *testing.T) {
	t.Parallel()
	c := start(t)
	document := func(of string) string {
		var b strings.Builder
		b.WriteString("{version: 1, owner: repository, features: {")
		for i := range 10 {
			fmt.Fprintf(&b, "f%d: {description: %s}, ", i, of)
		}
		return b.String() + "}}"
	}
	// read is whose document the configuration is now, and its version.
	read := func() (of, tag string) {
		a := c.must("GET", "/v1/state?owner=repository&format=json", nil, "Accept-Encoding", "identity")
		for _, of := range []string{"first", "second", "nobody"} {
			if strings.Count(string(a.Body), `"`+of+`"`) == 10 {
				return of, a.Header.Get("ETag")
			}
		}
		t.Errorf("some of several documents: %s", a.Body)
		return "", ""
	}
	both := func(header ...string) (statuses [2]int) {
		var writes sync.WaitGroup
		for i, of := range []string{"first", "second"} {
			writes.Go(func() {
				statuses[i] = c.do("PUT", "/v1/state", document(of), header...).Status
			})
		}
		writes.Go(func() {
			for range 5 {
				read()
			}
		})
		writes.Wait()
		return statuses
	}
	for range 3 {
		c.must("PUT", "/v1/state", document("nobody"))
		if got := both(); got != [2]int{200, 200} {
			t.Errorf("without If-Match: %v", got)
		}
		c.must("PUT", "/v1/state", document("nobody"))
		_, tag := read()
		statuses := both("If-Match", tag)
		of, _ := read()
		if want := map[string][2]int{"first": {200, 412}, "second": {412, 200}}[of]; statuses != want {
			t.Errorf("with If-Match: %v, and the configuration is of %s", statuses, of)
		}
	}
}
