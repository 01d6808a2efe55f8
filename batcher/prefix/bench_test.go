package prefix

import (
	"fmt"
	"strings"
	"testing"
)

// BenchmarkPrefix measures the cost of the prefix of a prompt of 2,900 tokens: naming its
// blocks, and walking the tree and the model with them.
func BenchmarkPrefix(b *testing.B) {
	ids := make([]int32, 2900)
	for i := range ids {
		ids[i] = int32(i * 37 % 1000)
	}
	perToken := func(b *testing.B) {
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(ids)), "ns/token")
	}
	b.Run("name/ids", func(b *testing.B) {
		for b.Loop() {
			OfTokens(ids, "")
		}
		perToken(b)
	})
	b.Run("name/text", func(b *testing.B) {
		text := strings.Repeat("x = 1; ", 4*2900/7)
		for b.Loop() {
			OfText(text, "")
		}
		perToken(b)
	})
	for _, shared := range []int{0, 19, 45} {
		b.Run(fmt.Sprintf("tree/shared=%d", shared), func(b *testing.B) {
			m := NewModel(1 << 17)
			g := m.NewGroup()
			base := OfTokens(ids, "")
			fresh := uint64(1 << 40)
			b.ReportAllocs()
			for b.Loop() {
				p := append(Prefix(nil), base...)
				for i := shared; i < len(p); i++ {
					fresh++
					p[i] = fresh
				}
				g.Add(&Entry{Prefix: p})
				f := m.Send(g.Next())
				m.Answer(&f, len(p))
				m.Finish(&f)
			}
			perToken(b)
		})
	}
}
