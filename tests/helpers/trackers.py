"""Trackers' libraries as far as they are used, which record what is called."""

import sys
from types import ModuleType, SimpleNamespace


class Fakes:
    """Put into ``sys.modules`` under the real names; ``calls`` has (library, what, details)."""

    def __init__(self, monkeypatch, *libraries):
        self.calls = []
        self.broken = {}  # (library, what): the exception to raise
        self.running = None
        for library in libraries:
            for name, module in getattr(self, f"_{library}")().items():
                monkeypatch.setitem(sys.modules, name, module)

    def note(self, library, what, **details):
        self.calls.append((library, what, details))
        if (library, what) in self.broken:
            raise self.broken[library, what]

    def of(self, library, what):
        return [details for lib, name, details in self.calls if (lib, name) == (library, what)]

    def curve(self, library, name):
        """(step, value) of a metric, in the order in which they came."""
        lines = self.of(library, "log")
        return [(d["step"], d["values"][name]) for d in lines if name in d["values"]]

    def _module(self, name, **contents):
        module = ModuleType(name)
        vars(module).update(contents)
        return module

    def _tensorboard(self):
        fakes = self

        class SummaryWriter:
            def __init__(self, log_dir, purge_step=None):
                fakes.note("tensorboard", "open", log_dir=log_dir, purge_step=purge_step)

            def add_text(self, tag, text):
                fakes.note("tensorboard", "settings", settings=text)

            def add_scalar(self, tag, value, step):
                fakes.note("tensorboard", "log", values={tag: value}, step=step)

            def close(self):
                fakes.note("tensorboard", "close")

        writer = self._module("torch.utils.tensorboard", SummaryWriter=SummaryWriter)
        return {"tensorboard": self._module("tensorboard"), writer.__name__: writer}

    def _wandb(self):
        def init(**arguments):
            self.note("wandb", "open", **arguments)
            if arguments["config"] is not None:
                self.note("wandb", "settings", settings=arguments["config"])
            return SimpleNamespace(
                id=arguments["id"] or "w1",
                define_metric=lambda name: self.note("wandb", "metric", name=name),
                log=lambda values, step: self.note("wandb", "log", values=values, step=step),
                finish=lambda exit_code: self.note("wandb", "close", status=exit_code),
            )

        return {"wandb": self._module("wandb", init=init)}

    def _mlflow(self):
        def start_run(run_id, run_name, nested):
            self.note("mlflow", "open", id=run_id, name=run_name, nested=nested)
            self.running = SimpleNamespace(info=SimpleNamespace(run_id=run_id or "m1"))
            return self.running

        def log_metrics(values, step, run_id):
            self.note("mlflow", "log", values=values, step=step, id=run_id)

        def end_run(status):
            self.note("mlflow", "close", status=status)
            self.running = None

        module = self._module(
            "mlflow",
            set_experiment=lambda name: self.note("mlflow", "project", name=name),
            active_run=lambda: self.running,
            start_run=start_run,
            log_params=lambda values: self.note("mlflow", "settings", settings=values),
            log_metrics=log_metrics,
            end_run=end_run,
        )
        return {"mlflow": module}

    def _trackio(self):
        def init(**arguments):
            self.note("trackio", "open", **arguments)
            if arguments["resume"] == "never":
                self.note("trackio", "settings", settings=arguments["config"])
            return SimpleNamespace(
                log=lambda values, step: self.note("trackio", "log", values=values, step=step),
                finish=lambda: self.note("trackio", "close"),
            )

        return {"trackio": self._module("trackio", init=init)}
