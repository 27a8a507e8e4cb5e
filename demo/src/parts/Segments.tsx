// A few choices of which one holds, in one row: radio buttons, with the keys that those have.

interface Props<T extends string> {
  legend: string
  name: string
  choices: readonly { id: T; name: string }[]
  value: T
  onChoose(id: T): void
}

export function Segments<T extends string>({ legend, name, choices, value, onChoose }: Props<T>) {
  return (
    <fieldset className="segments">
      <legend className="unseen">{legend}</legend>
      {choices.map((choice) => (
        <label key={choice.id}>
          <input type="radio" name={name} checked={value === choice.id} onChange={() => onChoose(choice.id)} data-testid={`${name}-${choice.id}`} />
          <span>{choice.name}</span>
        </label>
      ))}
    </fieldset>
  )
}
