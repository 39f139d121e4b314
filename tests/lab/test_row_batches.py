import pytest
import torch

from revgn_lab.runs.training.row_batches import batches


def rows(loader, epoch):
    loader.sampler.set_epoch(epoch)
    return [inputs.flatten().tolist() for inputs, _ in loader]


def loader(n=10, batch_size=4, *, seed=0, drop_last=True):
    table = torch.arange(n)
    return batches(table.unsqueeze(1), table, batch_size, seed=seed, drop_last=drop_last)


@pytest.mark.parametrize(("drop_last", "sizes"), [(True, [4, 4]), (False, [4, 4, 2])])
def test_an_epoch_holds_every_row_at_most_once(drop_last, sizes):
    taken = rows(loader(drop_last=drop_last), 0)
    assert [len(batch) for batch in taken] == sizes
    assert len(loader(drop_last=drop_last)) == len(sizes)
    flat = [row for batch in taken for row in batch]
    assert len(set(flat)) == len(flat)
    assert all(torch.equal(inputs.flatten(), targets) for inputs, targets in loader(drop_last=drop_last))


def test_seed_and_epoch_alone_decide_the_order():
    torch.manual_seed(1)
    first = rows(loader(), 3)
    torch.manual_seed(2)
    assert rows(loader(), 3) == first
    assert rows(loader(), 4) != first
    assert rows(loader(seed=1), 3) != first


@pytest.mark.parametrize("batch_size", [None, 10, 99])
def test_a_full_batch_is_the_table_itself(batch_size):
    full = loader(batch_size=batch_size)
    assert rows(full, 5) == [list(range(10))]
    ((inputs, _),) = full
    assert inputs.data_ptr() == full.dataset.tensors[0].data_ptr()
