package writer

import (
	"fmt"
	"slices"
	"testing"

	"github.com/flaggery/flaggery/pkg/api"
)

func TestNews(t *testing.T) {
	w := newFixture(t)
	ctx := t.Context()
	expect := func(after int64, limit int, want string) {
		t.Helper()
		news, err := w.News(ctx, after, limit)
		if err != nil {
			t.Fatal(err)
		}
		got := fmt.Sprintf("%d to %d:", news.Since, news.Revision)
		for _, c := range news.Changes {
			got += fmt.Sprintf(" %d %s %s", c.Revision, c.Action, c.Resource)
		}
		if got != want {
			t.Errorf("after %d: %s, want %s", after, got, want)
		}
	}
	expect(0, 10, "0 to 0:")
	must[api.BucketIDs](t)(w.IncreaseBuckets(ctx, 1))
	must[api.Subject](t)(w.AddSubject(ctx, api.CreateSubject{ID: "42"}))
	must[api.Group](t)(w.AddGroup(ctx, api.CreateGroup{Name: "a"}))
	expect(0, 10, "0 to 3: 1 create buckets 2 create subjects/42 3 create groups/a")
	expect(2, 10, "2 to 3: 3 create groups/a")
	expect(3, 10, "3 to 3:")
	expect(0, 2, "2 to 3: 3 create groups/a") // of revision 2 there may be more
	expect(9, 10, "0 to 3: 1 create buckets 2 create subjects/42 3 create groups/a")
	must[Forgotten](t)(w.Forget(ctx, "42"))
	news, err := w.News(ctx, 3, 10)
	if err != nil || news.Since != 0 || len(news.Changes) != 4 ||
		slices.ContainsFunc(news.Changes, func(c api.Change) bool { return c.Resource == "subjects/42" }) {
		t.Errorf("%+v, %v", news, err)
	}
}
