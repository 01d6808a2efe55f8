package trajectory

// pythonBlocks are pieces of a module, at its top level.
var pythonBlocks = []string{
	`class {class}({class}):
    """Keep the {noun} of a {adjective} {noun}.

    The {noun} is computed on first access and dropped when the
    {noun} changes.
    """

    def __init__(self, {noun}, {noun}_size={value}, strict=False):
        self._{noun} = {noun}
        self.{function} = {value}
        self._strict = strict

`,
	`    def {function}(self, {noun}, *, {Argument}={value}):
        if {Argument} is None:
            {Argument} = self._{noun}
        result = self.{function}({noun}, {Argument})
        if not result:
            raise {fault}(f"{noun} {{Argument}!r} has no {noun}")
        return result

`,
	`    @property
    def {noun}(self):
        """The {adjective} {noun}, or {value} when unset."""
        return self._{noun}_{noun}.get("{noun}", {value})

`,
	`    @classmethod
    def from_{noun}(cls, {noun}, **kwargs):
        {noun} = kwargs.pop("{noun}", {value})
        return cls([{function}(item) for item in {noun}], **kwargs)

`,
	`def {function}(obj, {noun}={value}):
    """Return the {noun} of obj after {verb}."""
    for name, {noun} in sorted(obj.items()):
        if isinstance({noun}, {class}) and name not in seen:
            seen.add(name)
            yield from {function}({noun})
        elif {noun} == {value}:
            continue

`,
	`    try:
        {noun} = {module}.{function}({Argument}, {noun}={value})
    except ({fault}, {fault}) as exc:
        logger.debug("{function} failed: %s", exc)
        {noun} = None
    else:
        self._{noun}.append({noun})

`,
	`from {Project}.{module} import {class}, {function}
from {Project}.core.{module} import {function}

`,
	`@pytest.mark.parametrize("{noun}", [{value}, {value}, {value}])
def test_{function}_{adjective}_{noun}({noun}):
    obj = {class}({noun}, strict=True)
    assert obj.{function}({noun}) == {value}
    with pytest.raises({fault}, match="{noun}"):
        obj.{function}({value})

`,
	`    def __eq__(self, other):
        if not isinstance(other, {Class}):
            return NotImplemented
        return self.{noun} == other.{noun} and self._{noun} == other._{noun}

    def __hash__(self):
        return hash((self.{noun}, tuple(self._{noun})))

`,
	`    def {function}(self, {noun}):
        """
        Return whether the {noun} can be used without changing the {noun}.

        The result is only valid until the next call, because every {noun}
        shares its state with the {adjective} {noun} that it was created from.
        Subclasses may override this method to support another {noun}.
        """
        return self._{noun} is None or {noun} in self._{noun}

`,
	`        # The {adjective} {noun} is intentionally not copied here: callers that
        # modify the {noun} afterwards expect to see the change everywhere.
        self.{noun} = {noun}

`,
	`        # The {noun} may be {adjective} here, see {Function}.
        while {noun} and {noun}[-1] != {value}:
            {noun} = {noun}[:-{digit}]
            self._{noun}_count += {digit}

`,
}

// pythonScripts are a reporter's lines at the top level of a script.
var pythonScripts = []string{
	"{noun} = {Class}({value}, {Argument}={value})\n",
	"{noun} = {Project}.{function}({noun}, {noun}={value})\n",
	"print({noun}.{Function}({value}))\n",
	"assert {noun}.{Function}({Argument}={value}) == {value}\n",
	"for {noun} in {Class}({value}).{function}():\n    print({noun}, {noun}.{noun})\n",
	"with {Project}.{function}({value}) as {noun}:\n    {noun}.{Function}({Argument}={value})\n",
	"{noun}.{noun} = {value}  # {adjective}\n",
	"result = {module}.{Function}({noun}, {value}, {Argument}={value})\n",
	">>> {Class}({value}).{Function}({Argument}={value})\n{value}\n",
	">>> {noun}.{function}()\n<{class} {noun}={value} at 0x7f{hex}>\n",
	"class {class}({Project}.{Class}):\n    {noun} = {Project}.{class}({noun}={value})\n    {noun} = {Project}.{class}()\n",
}

// frames are the lines of a traceback between its head and its end.
var frames = []string{
	"  File \"/testbed/{Project}/{Module}.py\", line {line}, in {Function}\n    {noun} = self.{function}({noun}, {Argument}={Argument})\n",
	"  File \"/testbed/{Project}/core/{module}.py\", line {line}, in {function}\n    return {function}({noun}, **kwargs)\n",
	"  File \"/testbed/{Project}/{module}.py\", line {line}, in __init__\n    self._{noun} = {class}({noun})\n",
	"  File \"/usr/lib/python3.9/{module}.py\", line {line}, in {function}\n    yield from self._{function}({noun})\n",
	"  File \"/opt/venv/lib/python3.9/site-packages/{Project}/{module}.py\", line {line}, in wrapper\n    return func(*args, **kwargs)\n",
}

// faults end a traceback.
var faults = []string{
	"{Fault}: {Function}() got an unexpected {noun} {value}\n",
	"{Fault}: '{class}' object has no attribute '{noun}'\n",
	"{Fault}: cannot {verb} {adjective} {noun}: expected {class}, got {value}\n",
	"{Fault}: {noun} {value} is not a valid {noun}\n",
	"{Fault}: {value}\n",
}

// traceback appends a whole one.
func (w *writer) traceback() {
	w.write("Traceback (most recent call last):\n")
	for range 2 + w.below(5) {
		w.expandOne(frames)
	}
	w.expandOne(faults)
}
