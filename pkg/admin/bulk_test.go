package admin

import (
	"testing"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/model"
)

func TestManySubjects(t *testing.T) {
	t.Parallel()
	c := start(t)
	populate(c)
	for _, id := range []string{"delete", "7"} { // ids that are a word of the contract too
		c.must("POST", "/v1/subjects", api.CreateSubject{ID: id, Weight: new(int64(7))})
	}
	c.must("POST", "/v1/abtests/live/stop", nil) // whose draw would decide what changes
	const members = "/v1/groups/friends/subjects"
	c.do("POST", members+"?dry_run=true", `{"ids": ["1", "42", "7", "x"]}`).
		is(200, `{"dry_run": true, "affected": {"subjects": 2, "weight": 8},
			"changes": [{"feature": "foobar", "from": "A", "to": "B", "subjects": 2, "weight": 8}],
			"heaviest": [{"id": "7", "weight": 7, "feature": "foobar", "from": "A", "to": "B"}, {"id": "1", "weight": 1, "feature": "foobar", "from": "A", "to": "B"}],
			"result": {"joined": 2, "already": 1, "left": 0, "unknown": ["x"]}}`)
	c.must("GET", members, nil).is(200, `{"items": ["42"]}`)
	c.do("POST", members, `{"ids": ["1", "42", "7", "x"]}`).is(200, `{"joined": 2, "already": 1, "left": 0, "unknown": ["x"]}`)
	c.must("GET", members+"?view=ids&limit=2", nil).is(200, `{"items": ["1", "42"], "next": "42"}`)
	c.must("GET", members+"?view=subjects&after=42", nil).is(200, `{"items": [{"id": "7", "weight": 7}]}`)
	c.do("POST", members, `{"ids": ["42", "1"], "leave": true}`).is(200, `{"joined": 0, "already": 0, "left": 2, "unknown": []}`)

	const many = "/v1/subjects/delete"
	c.must("PUT", many, `{"weight": 3}`).is(200, `{"id": "delete", "weight": 3, "bucket_id": 3, "groups": []}`)
	c.do("POST", many+"?dry_run", `{"ids": ["7", "none"]}`).
		is(200, `{"dry_run": true, "affected": {"subjects": 1, "weight": 7},
			"changes": [{"feature": "foobar", "from": "B", "to": null, "subjects": 1, "weight": 7}],
			"heaviest": [{"id": "7", "weight": 7, "feature": "foobar", "from": "B", "to": null}],
			"result": {"deleted": 1, "unknown": ["none"]}}`)
	a := c.do("POST", many+"?comment=left+us", `{"ids": ["7", "none", "42"]}`)
	a.is(200, `{"deleted": 2, "unknown": ["none"]}`)
	c.do("GET", "/v1/subjects/42", nil).isProblem(404, model.SubjectNotFound, "")
	c.must("POST", "/v1/audit/"+a.Header.Get(api.HeaderRevision)+"/revert", nil)
	c.must("GET", members+"?view=subjects", nil).is(200, `{"items": [{"id": "7", "weight": 7}]}`)
	c.do("DELETE", many, nil).is(204, "")
	c.do("GET", many, nil).isProblem(404, model.SubjectNotFound, "")
}
