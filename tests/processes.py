"""Work in two processes, for tests of what is joined over them."""

import multiprocessing


def in_two_processes(work, folder):
    """Runs ``work(rank, folder)`` in two processes; forks of a process with threads may hang."""
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=work, args=(rank, folder)) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(300)
        assert process.exitcode == 0
