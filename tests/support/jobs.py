"""Do batch jobs in this process, without Ray."""

from dataclasses import replace

from jobs.job import Job, prepare, run
from jobs.tally import Report
from jobs.working import Working


def run_here(job: Job) -> Report:
    """What `jobs.job.run` does, one part after the other."""
    running = job.begin()
    processes = [Working(link, job.graph.root, job.manifest.versions) for link in running.links]
    for unit in running.left:
        for part in running.reader(unit):
            for process in processes:
                part = process(part)
            running.finishing(part)
    for process in processes:
        process.close()
    return run(prepare(replace(job.asked, resume=True, overwrite=False)))  # nothing is left but the report
