package figures

// Gains sets each ranked setting of the proxy that has a batch size against direct calls, by rank; none if
// direct calls have no figure.
func (p Phase) Gains() (all []Against) {
	direct, ok := p.find("direct")
	for _, c := range p.Cells {
		if ok && c.Fixed() && c.Ranked {
			all = append(all, p.against(direct, c))
		}
	}
	return all
}
