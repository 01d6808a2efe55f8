package cli

import (
	"errors"
	"flag"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

type values struct {
	n     int
	wait  time.Duration
	sizes Parsed[[]int]
	each  []string
}

func define(v *values) *FlagSet {
	f := New("x", "what x is for\n")
	f.Title("Second letters")
	Define(f, &v.wait, 5*time.Millisecond, "wait", "`longest` wait")
	Define(f, &v.n, 0, "n", "how many")
	f.Title("Lists")
	Define(f, &v.sizes, Parse("1,2", List(1, strconv.Atoi, "is no number")), "sizes", "sizes")
	f.Each("each", func(s string) error { v.each = append(v.each, s); return nil }, "again and again")
	return f
}

func TestFlagsHaveTheirDefaultsAndTakeValues(t *testing.T) {
	var v values
	f := define(&v)
	if v.wait != 5*time.Millisecond || !slices.Equal(v.sizes.Value, []int{1, 2}) {
		t.Errorf("defaults: %+v", v)
	}
	if err := f.Read([]string{"-n", "3", "-sizes", " 4,, 5", "-each", "a", "-each=b"}, nil); err != nil {
		t.Fatal(err)
	}
	if v.n != 3 || !slices.Equal(v.sizes.Value, []int{4, 5}) || v.sizes.String() != " 4,, 5" || !slices.Equal(v.each, []string{"a", "b"}) {
		t.Errorf("%+v", v)
	}
}

func TestAWrongValueIsNamedWithItsFlag(t *testing.T) {
	for arg, want := range map[string]string{
		"-sizes=1,x": `-sizes: "x" is no number`, "-sizes=": "-sizes: must hold a value",
		"-n=x": "-n", "-nope": "-nope",
	} {
		if err := define(new(values)).Read([]string{arg}, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", arg, err, want)
		}
	}
}

func TestHelpListsFlagsBySubjectAsTheyWereDefined(t *testing.T) {
	var b strings.Builder
	if err := define(new(values)).Read([]string{"-h"}, &b); !errors.Is(err, flag.ErrHelp) {
		t.Fatal(err)
	}
	const want = `what x is for

Second letters
  -wait longest           longest wait (default 5ms)
  -n int                  how many

Lists
  -sizes value            sizes (default 1,2)
  -each value             again and again
`
	if b.String() != want {
		t.Errorf("%s", b.String())
	}
}
