package trajectory

import "bytes"

var issueTitles = []string{
	"{Class}.{Function} raises {Fault} for {adjective} {noun}",
	"`{Function}` ignores `{Argument}` when the {noun} is {adjective}",
	"{Fault} in {Module}.{Function} with {adjective} {noun}",
	"Wrong {noun} after calling `{Class}.{Function}({Argument}={value})`",
	"{Class}: {adjective} {noun} is lost by {verb}",
	"Regression: {Function} no longer accepts {value} as {Argument}",
	"Support {adjective} {noun} in {Class}",
	"{Module}: {Argument} of {Class} should {verb} the {noun}",
	"{adjective} {noun} breaks {Function} (was fine in {digit}.{digit})",
	"[Bug] {Class}.{Function} returns {value} instead of {value}",
	"Inconsistent {noun} between {class} and {Class}",
	"Make {Function} {verb} each {noun} only once",
}

var issueSentences = []string{
	"When a {Class} has a {adjective} {noun}, `{Function}` does not {verb} it and returns {value} instead. ",
	"I would expect the {noun} to be the same before and after the call. ",
	"This used to work in {digit}.{digit}.{digit} and broke after the change to the {adjective} {noun}. ",
	"As far as I can tell the problem is in `{Project}/{Module}.py`, where the {noun} is compared with {value}. ",
	"The documentation says that {Argument} may be {value}, but nothing in the code seems to {verb} that case. ",
	"It also happens with a {adjective} {noun}, although the message is different there. ",
	"A workaround is to {verb} the {noun} by hand before it is passed to {Class}, which is easy to forget. ",
	"I’m not sure whether this is intended — if it is, the {noun} should at least be mentioned in the docs. ",
	"We noticed it because one of our jobs quietly wrote {adjective} data for several days. ",
	"Passing `{Argument}={value}` makes no difference at all. ",
	"`{Class}.{Function}({value}, {Argument}={value})` gives {value}, `{Class}.{function}({value})` gives {value} (see #{line}{digit}). ",
	"In {Project}=={digit}.{digit}.{digit} line {line} of {module}.py reads `{noun} = {noun}[{value}]`, in {digit}.{digit}.{digit} it is `self._{noun} or {value}`. ",
	"`{noun}._{noun}` is {value} and `{noun}.{function}` is <{class} at 0x7f{hex}>, so isinstance() fails. ",
	"The same code works when the {noun} is created with `{function}` first. ",
	"Since {class} inherits from {Class}, every {noun} of it is affected as well. ",
	"I can open a pull request with a test if somebody confirms that this is the right place. ",
	"In our project there are about {count} places which rely on the {adjective} behaviour. ",
	"Looking at the history, the check was added so that a {noun} could {verb} its {noun} early. ",
	"The order matters here: {verb} first and then {verb} works, the other way round does not. ",
}

var issueHeadings = []string{
	"### Description\n", "### Steps to reproduce\n", "### Actual behaviour\n", "### Expected behaviour\n",
	"**What happened:**\n", "**Additional context**\n", "#### Details\n",
}

var issueVersions = []string{
	"- {Project}: {digit}.{digit}.{digit}\n", "- Python: 3.{digit}.{digit}\n", "- OS: {system}\n",
	"- {noun} backend: {class} {digit}.{digit}\n", "- installed with pip, commit {hex}\n",
}

// problem appends an issue report of about size bytes.
func (w *writer) problem(size int) {
	w.expandOne(issueTitles)
	w.write("\n")
	w.issueProse()
	w.fill(size, w.issuePart)
	w.cut(0, size)
	if bytes.Count(w.b, []byte("```"))%2 == 1 {
		w.write("\n```")
	}
}

// issuePart appends the next part: what reporters write, in about the shares
// that give a statement its 3.6 bytes per token.
func (w *writer) issuePart() {
	if w.chance(30) {
		w.expandOne(issueHeadings)
	}
	switch p := w.below(100); {
	case p < 20:
		w.issueProse()
	case p < 55:
		w.fenced("python", func() {
			for range 2 + w.below(6) {
				w.expandOne(pythonScripts)
			}
		})
	case p < 82:
		w.fenced("", w.traceback)
	case p < 92:
		w.fenced("python", func() { w.expandOne(pythonBlocks) })
	default:
		for _, version := range issueVersions {
			w.expand(version)
		}
		w.write("\n")
	}
}

func (w *writer) issueProse() {
	for range 1 + w.below(3) {
		w.expandOne(issueSentences)
	}
	w.b = append(bytes.TrimRight(w.b, " "), "\n\n"...)
}

func (w *writer) fenced(language string, body func()) {
	w.write("```" + language + "\n")
	body()
	w.b = append(bytes.TrimRight(w.b, "\n"), "\n```\n\n"...)
}
