package model

import (
	"fmt"
	"strings"
	"testing"
)

func TestCheckDescription(t *testing.T) {
	for text, good := range map[string]bool{
		"": true, "two\nlines, é 🙂": true, strings.Repeat("x", MaxDescriptionLength): true,
		strings.Repeat("x", MaxDescriptionLength+1): false, "a\x00b": false, "\xff": false,
	} {
		if err := CheckDescription(text); (err == nil) != good {
			t.Errorf("CheckDescription(%.20q) = %v", text, err)
		}
	}
}

func TestCheckTags(t *testing.T) {
	many := make([]string, MaxTags+1)
	for i := range many {
		many[i] = fmt.Sprint(i)
	}
	for _, c := range []struct {
		tags []string
		good bool
	}{
		{nil, true},
		{[]string{"team: checkout", "é"}, true},
		{many[:MaxTags], true},
		{many, false},
		{[]string{"a", "b", "a"}, false},
		{[]string{""}, false},
		{[]string{"a\nb"}, false},
		{[]string{"\xff"}, false},
		{[]string{strings.Repeat("x", MaxNameLength+1)}, false},
	} {
		if err := CheckTags(c.tags); (err == nil) != c.good {
			t.Errorf("CheckTags(%.40q) = %v", c.tags, err)
		}
	}
	if err := CheckTags([]string{"a", "a", "", "b"}); err == nil || !strings.Contains(err.Error(), `"a" is given twice; "" `) {
		t.Errorf("not all faults are said: %v", err)
	}
}
