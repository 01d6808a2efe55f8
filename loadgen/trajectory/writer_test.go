package trajectory

import (
	"testing"

	"pgregory.net/rapid"
)

func testWriter() *writer {
	subject := map[string]string{"Project": "graft", "Class": "LazyIndex"}
	return &writer{stream: newStream(1, "writer", "test"), vocabulary: texts(), subject: subject}
}

func TestExpandReplacesKnownSlotsAndKeepsOtherBraces(t *testing.T) {
	w := testWriter()
	w.expand("{Project}.{Class} {} {'a': 1} {unknown} {{Class}!r} { {Project}")
	if got, want := w.pop(), "graft.LazyIndex {} {'a': 1} {unknown} {LazyIndex!r} { graft"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestFillStaysWithinItsSizeAndKeepsWhatWasThere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := testWriter()
		w.write("before ")
		size := rapid.IntRange(-5, 200).Draw(t, "size")
		w.fill(size, func() { w.write("some more wördš — then\n") })
		got := w.pop()
		if len(got) > max(size, len("before ")) || got[:7] != "before " {
			t.Fatalf("size %d: %q", size, got)
		}
	})
}
