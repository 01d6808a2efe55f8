package trajectory

import "bytes"

var thoughtOpenings = map[work][]string{
	idleWork: {
		"That edit was refused, so I have to look at the exact lines before I try again. ",
		"Nothing new came out of that. Let me make sure that the last change is what I think it is. ",
	},
	fileWork: {
		"Now let me look at how {Class} handles the {noun} in {Module}.py. ",
		"I have found the place where the {noun} gets lost, so I can change it. ",
		"Next I want to see the code around `{Function}` before changing anything. ",
		"The check for the {adjective} {noun} belongs into `{function}`. ",
	},
	bashWork: {
		"Let me run the reproduction script to see whether the {noun} is right now. ",
		"I will search for the other callers of `{Function}` first. ",
		"Let me check what the {noun} looks like when {Argument} is {value}. ",
		"First I need to know where the message about the {adjective} {noun} comes from. ",
	},
	testWork: {
		"The script passes, so it is time to run the whole test suite of the {Module} module. ",
		"Before I finish I want to be sure that nothing else depends on the old {noun}. ",
	},
}

var thoughtSentences = []string{
	"The traceback shows that the {noun} is already wrong when it reaches `{function}`, which means that the cause has to be earlier. ",
	"In the {adjective} case the {noun} should be passed on unchanged, but here it is replaced by the default. ",
	"There are two ways to fix this: either {verb} the {noun} in {Class} itself, or make the caller responsible for it. ",
	"The first option is less invasive because the public interface stays the same. ",
	"I should also consider what happens when the {noun} is empty or None. ",
	"The existing tests only cover the simple case, so they would not have noticed this problem. ",
	"Since the {class} subclass overrides this method, I have to check that it still works as expected. ",
	"It looks like the condition is inverted for every {noun} that was created with a {adjective} {noun}. ",
	"This matches the description in the issue, where the {noun} disappears after the second call. ",
	"If I understand the code correctly, the {noun} is computed once and then reused for all of the following calls. ",
	"That explains why the result depends on the order in which the {noun} and the {noun} are created. ",
	"The documentation of `{Function}` mentions that the {Argument} may be omitted, so that has to keep working. ",
	"At line {line} of /testbed/{Project}/{Module}.py there is `if self._{noun} is not {value}:`, and `{Function}()` is called with {Argument}={value}. ",
	"So `{Class}({value}).{Function}()` returns {value}, but it should return {value}. ",
	"I'll edit {Project}/{module}.py (around line {line}) so that `{function}` gets `{noun}={value}`. ",
	"`{class}.__init__` calls `{function}(self.{noun})` before `_{noun}` is set, hence the {Fault}. ",
	"Hmm, `test_{function}_{noun}` passes {value}, not {value}. ",
	"Another possibility would be to {verb} the {noun} later, although that could surprise users who rely on the current behavior. ",
	"Let me keep the change as small as possible and follow the style of the surrounding code. ",
}

// thought appends the reasoning before a call, about size bytes.
func (w *writer) thought(kind work, size int) {
	w.expandOne(thoughtOpenings[kind])
	w.fill(size, func() { w.expandOne(thoughtSentences) })
	w.cut(0, size)
	w.b = append(bytes.TrimRight(w.b, " ,.:`"), '.')
}
