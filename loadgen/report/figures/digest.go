package figures

import (
	"cmp"
	"io"
	"slices"

	"paceline/loadgen/report"
)

// Digest is what report.html shows about single requests: a few, however many there were. The zero value is
// ready to use. A Digest is not safe for concurrent use.
type Digest struct {
	Slowest []report.Request // of the whole sweep, slowest first
}

// ReadDigest digests a requests.jsonl. Its error names the request.
func ReadDigest(rd io.Reader) (d Digest, err error) {
	err = report.ReadRequests(rd, d.add)
	return d, err
}

// maxSlow is how many of the slowest requests of a sweep are kept.
const maxSlow = 10

// add adds the requests of one run.
func (d *Digest) add(run []report.Request) {
	run = only(run, func(r report.Request) bool { return !r.Dropped })
	d.Slowest = append(d.Slowest, only(run, func(r report.Request) bool { return r.Counts() && r.LatencySeconds >= 0 })...)
	slices.SortStableFunc(d.Slowest, func(a, b report.Request) int { return cmp.Compare(b.LatencySeconds, a.LatencySeconds) })
	d.Slowest = slices.Clone(d.Slowest[:min(len(d.Slowest), maxSlow)]) // lets go of the others
}
